"""Boxes that a person drew: three coordinate systems, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.prompts.drawn import read_boxes, voxel_box

SIZE_XYZ, SPACING_XYZ_MM, ORIGIN_MM = (30, 20, 12), (0.5, 1.0, 3.0), (10.0, -40.0, 7.0)
EXPECTED = [[4, 7], [8, 15], [5, 12]]  # (D, H, W): voxels x 5..11, y 8..14, z 4..6


def image(*flipped: str) -> sitk.Image:
    made = sitk.Image(SIZE_XYZ, sitk.sitkUInt8)
    made.SetSpacing(SPACING_XYZ_MM)
    made.SetOrigin(ORIGIN_MM)
    made.SetDirection(np.diag([-1.0 if axis in flipped else 1.0 for axis in "xyz"]).ravel())
    return made


def world_corners(grid: sitk.Image, coordinates: str, half_voxel: bool) -> tuple[float, ...]:
    """The corners of voxels x 5..11, y 8..14, z 4..6, at voxel centres or at the voxels' outer faces."""
    step = 0.5 if half_voxel else 0.0
    ends = [
        np.array(grid.TransformContinuousIndexToPhysicalPoint(index))
        for index in ((5 - step, 8 - step, 4 - step), (11 + step, 14 + step, 6 + step))
    ]
    if coordinates == "ras":
        ends = [end * (-1, -1, 1) for end in ends]
    return (*np.minimum(*ends), *np.maximum(*ends))


def test_voxels_are_first_and_last_inside():
    assert voxel_box((5, 8, 4, 11, 14, 6), "voxel", image()) == EXPECTED


@pytest.mark.parametrize("flipped", ["", "x", "xy", "yz"])
@pytest.mark.parametrize("coordinates", ["lps", "ras"])
@pytest.mark.parametrize("half_voxel", [False, True])
def test_millimetres(flipped, coordinates, half_voxel):
    grid = image(*flipped)
    assert voxel_box(world_corners(grid, coordinates, half_voxel), coordinates, grid) == EXPECTED


def test_millimetres_by_hand():
    """x = 10 + 0.5 i, y = -40 + j, z = 7 + 3 k in LPS; NIfTI's x and y have the other sign."""
    assert voxel_box((12.5, -32.0, 19.0, 15.5, -26.0, 25.0), "lps", image()) == EXPECTED
    assert voxel_box((-15.5, 26.0, 19.0, -12.5, 32.0, 25.0), "ras", image()) == EXPECTED


def test_a_box_between_voxel_centres_is_the_nearest_voxel():
    assert voxel_box((12.6, -31.9, 19.1, 12.7, -31.8, 19.2), "lps", image()) == [[4, 5], [8, 9], [5, 6]]


def test_a_point_is_no_box_and_a_flat_box_is_one_slice():
    with pytest.raises(ValueError, match=r"\(lps\): a point, expected two corners"):
        voxel_box((12.5, -32.0, 19.0, 12.5, -32.0, 19.0), "lps", image())
    assert voxel_box((12.5, -32.0, 19.0, 15.5, -26.0, 19.0), "lps", image()) == [[4, 5], *EXPECTED[1:]]


def test_permuted_axes():
    grid = image()
    grid.SetDirection((0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    assert voxel_box(world_corners(grid, "lps", True), "lps", grid) == EXPECTED


@pytest.mark.parametrize(
    ("corners", "coordinates"),
    [((5, 8, 4, 30, 14, 6), "voxel"), ((-1, 8, 4, 11, 14, 6), "voxel"), ((-15.5, 26, 19, -12.5, 32, 25), "lps")],
)
def test_boxes_outside_the_image_are_refused(corners, coordinates):
    with pytest.raises(ValueError, match="not inside the image: voxels"):
        voxel_box(corners, coordinates, image())


def test_parts_of_voxels_are_refused():
    with pytest.raises(ValueError, match="voxels are whole numbers"):
        voxel_box((5, 8, 4, 11.5, 14, 6), "voxel", image())


def test_boxes_by_case(tmp_path: Path):
    rows = ["case,x0,y0,z0,x1,y1,z1", "a,5,8,4,11,14,6", "a,1,1,1,2,2,2.5", "b,,,,,,"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    assert read_boxes(tmp_path / "boxes.csv") == {"a": [(5, 8, 4, 11, 14, 6), (1, 1, 1, 2, 2, 2.5)], "b": []}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_as_spreadsheets_save_it(tmp_path, separator):
    """A byte order mark, another separator, a row with nothing but a name, blank rows at the end."""
    rows = ["case,x0,y0,z0,x1,y1,z1", "a,5,8,4,11,14,6", "b", ",,,,,,", ""]
    text = "\r\n".join(rows).replace(",", separator)
    (tmp_path / "boxes.csv").write_bytes(text.encode("utf-8-sig"))
    assert read_boxes(tmp_path / "boxes.csv") == {"a": [(5, 8, 4, 11, 14, 6)], "b": []}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("b.csv", "case,x0,y0,z0,x1,y1\na,1,2,3,4,5", r"b\.csv: has the columns .*'y1'\], expected .* z1 among them"),
        ("b.csv", "case,x0,y0,z0,x1,y1,z1\nM\xfcller,1,2,3,4,5,6", r"b\.csv: cannot be read as UTF-8 text"),
        ("b.csv", "case,x0,y0,z0,x1,y1,z1\na,1,2,3,4,5,6,7", r"b\.csv, line 2: 8 cells, expected 7"),
        ("b.csv", "case,x0,y0,z0,x1,y1,z1\na,1,2,3", "line 2, a: got .* expected six numbers"),
        ("b.csv", "case,x0,y0,z0,x1,y1,z1\na,1,2,3,4,5,6\nb,1,9,3,4,5,6", "line 3, b: reversed along y"),
        ("b.csv", "case,x0,y0,z0,x1,y1,z1\na,1,2,3,4,five,6", "expected six numbers"),
        ("b.csv", "case,x0,y0,z0,x1,y1,z1\na,1,2,3,4,5,", "expected six numbers"),
        ("b.txt", "", r"expected a \.csv file"),
    ],
)
def test_faulty_files_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        read_boxes(tmp_path / name)


@pytest.mark.parametrize("rows", [1, 20000])  # the second is longer than a field may be
def test_a_quote_that_is_not_closed(tmp_path, rows):
    text = 'case,x0,y0,z0,x1,y1,z1\n"a,1,2,3,4,5,6\n' + rows * "b,1,2,3,4,5,6\n"
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(ValueError, match=r"b\.csv, line \d+: is no CSV .*Close the quotes"):
        read_boxes(tmp_path / "b.csv")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--from: no file"):
        read_boxes(tmp_path / "boxes.csv")
