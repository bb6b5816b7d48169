"""3D Slicer's markups: what Slicer saves is read, rotation is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.prompts.drawn import read_drawn
from nnunetv2_masam.prompts.markups import read_markups

BOX = [[4, 7], [8, 15], [5, 12]]  # (D, H, W)
# as Slicer writes its default region: axes of the patient's right, front and head, given in LPS
SLICER_AXES = [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0]

# the fields that Slicer 5 writes for a region, in its order and notation, with values of our own; the second region is
# the one around control points, one of them not placed yet, and has no display
SAVED_BY_SLICER = Path(__file__).parent / "data" / "saved_by_slicer.mrk.json"


def image(direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)) -> sitk.Image:
    made = sitk.Image((30, 20, 12), sitk.sitkUInt8)
    made.SetSpacing((0.5, 1.0, 3.0))
    made.SetOrigin((10.0, -40.0, 7.0))
    made.SetDirection([float(cosine) for cosine in direction])
    return made


def turned(axis: str, degrees: float) -> list[float]:
    transform = sitk.VersorTransform([float(axis == name) for name in "xyz"], np.deg2rad(degrees))
    return list(transform.GetMatrix())


def save(path: Path, **changes) -> Path:
    """A region around BOX in the image above: x 12.25 to 15.75, y -32.5 to -25.5, z 17.5 to 26.5."""
    region = {
        "type": "ROI",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "roiType": "Box",
        "center": [14.0, -29.0, 22.0],
        "orientation": SLICER_AXES,
        "size": [3.5, 7.0, 9.0],
        "insideOut": False,
        "controlPoints": [{"id": "1", "position": [14.0, -29.0, 22.0]}],
        **changes,
    }
    path.write_text(json.dumps({"@schema": "…", "markups": [{k: v for k, v in region.items() if v is not None}]}))
    return path


def test_a_file_with_all_that_slicer_writes(tmp_path):
    shutil.copy(SAVED_BY_SLICER, tmp_path / "case.mrk.json")
    ((first, second),) = read_markups(tmp_path).values()
    assert first.voxel_box(image()) == BOX
    assert second.voxel_box(image()) == [[0, 2], [0, 2], [0, 3]]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"coordinateUnits": ["mm", "UCUM", "millimeter"]},  # the schema's other form
        {"center": None},  # then the control point is the centre, as in files that people write by hand
        {"coordinateSystem": "RAS", "center": [-14.0, 29.0, 22.0], "orientation": [1, 0, 0, 0, 1, 0, 0, 0, 1]},
        {"orientation": [0, 1, 0, 1, 0, 0, 0, 0, 1], "size": [7.0, 3.5, 9.0]},  # its first axis is y
    ],
)
def test_a_region_as_slicer_saves_it(tmp_path, changes):
    path = save(tmp_path / "case.mrk.json", **changes)
    ((region,),) = read_markups(path).values()
    assert region.voxel_box(image()) == BOX


def test_a_region_along_the_world_in_a_turned_image_becomes_the_box_around_it(tmp_path):
    ((region,),) = read_markups(save(tmp_path / "case.mrk.json", size=[2.0, 2.0, 2.0])).values()
    low_and_high = np.array(region.voxel_box(image(turned("z", 10))))
    assert ((low_and_high[:, 1] - low_and_high[:, 0]) >= [1, 2, 4]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orientation": turned("z", 20)}, "markup 1: the region is rotated against the image"),
        ({"type": "Fiducial"}, "got Fiducial , expected a ROI of type Box"),
        ({"insideOut": True}, "inside out"),
        ({"coordinateUnits": "in"}, "coordinateUnits 'in', expected mm"),
        ({"coordinateUnits": ["um", "UCUM", "micrometer"]}, "coordinateUnits .'um', .* expected mm"),
        ({"coordinateSystem": "IJK"}, "expected LPS or RAS"),
        ({"size": [1, 2]}, "size: got .1, 2., expected 3 numbers"),
        ({"size": None}, "size: got None, expected 3 numbers"),
        ({"size": [1, 2, -3]}, "expected no negative size"),
        ({"size": [1, 0, 3]}, "the region has no extent"),
        ({"orientation": [2, 0, 0, 0, 1, 0, 0, 0, 1]}, "axes of length 1"),
        ({"center": [1e4, 0, 0]}, "is not inside the image"),
    ],
)
def test_regions_that_are_no_box_prompt(tmp_path, changes, message):
    path = save(tmp_path / "case.mrk.json", **changes)
    with pytest.raises(ValueError, match=message):
        read_markups(path)["case"][0].voxel_box(image())


def test_files_of_a_case_and_a_case_without_a_box(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("R.mrk.json", "R_1.mrk.json"):
        save(tmp_path / "a" / name)
    (tmp_path / "b.mrk.json").write_text('{"markups": []}')
    assert {case: len(found) for case, found in read_drawn(tmp_path).items()} == {"a": 2, "b": 0}
    with pytest.raises(ValueError, match="which say themselves"):
        read_drawn(tmp_path, "lps")
    (tmp_path / "b.mrk.json").write_text('{"markups": {}}')
    with pytest.raises(ValueError, match="has no list of markups"):
        read_drawn(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has no CASE\.mrk\.json"):
        read_drawn(tmp_path / "empty")
