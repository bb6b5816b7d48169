"""One volume and its label file: what is refused, what is copied, what is written anew."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.datasets.volumes import LabelRule, Volume, convert_volume
from tests.scaled_labels import scale_labels
from tests.unit.datasets.conftest import ORIGIN_XYZ_MM, SHAPE, SPACING_XYZ_MM, image_array, label_array, write_volume

RULE = LabelRule(frozenset(range(4)), {3: 2})


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """An image with a label file that needs no change."""
    source = Volume("case", tmp_path / "image.nii.gz", tmp_path / "label.nii.gz")
    write_volume(source.image, image_array(0))
    write_volume(source.label, label_array((1, 2)))
    return source


@pytest.fixture
def target(tmp_path: Path) -> Path:
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (tmp_path / "target" / part).mkdir(parents=True)
    return tmp_path / "target"


def test_what_needs_no_change_is_copied(volume: Volume, target: Path) -> None:
    found = convert_volume(volume, target, RULE)
    assert (found.size_vox, found.labels, found.problems, found.notes) == (SHAPE, {1, 2}, (), ())
    assert found.spacing_mm == pytest.approx(SPACING_XYZ_MM[::-1])
    assert (target / "imagesTr" / "case_0000.nii.gz").read_bytes() == volume.image.read_bytes()
    assert (target / "labelsTr" / "case.nii.gz").read_bytes() == volume.label.read_bytes()


def test_merged_labels_keep_the_geometry(volume: Volume, target: Path) -> None:
    write_volume(volume.label, label_array((1, 2, 3)))
    assert convert_volume(volume, target, RULE).labels == {1, 2}
    written = sitk.ReadImage(str(target / "labelsTr" / "case.nii.gz"))
    expected = label_array((1, 2, 3))
    expected[expected == 3] = 2
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), expected)
    assert written.GetOrigin() == pytest.approx(ORIGIN_XYZ_MM)
    assert written.GetDirection() == pytest.approx((-1, 0, 0, 0, -1, 0, 0, 0, 1))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (4, "label values 4; the dataset has 0, 1, 2, 3"),
        (-1, "label values -1; the dataset has 0, 1, 2, 3"),
        (0.5, "holds 0.5, expected whole numbers"),
        (np.nan, "holds values that are not finite numbers"),
    ],
)
def test_label_values_out_of_range(volume: Volume, target: Path, value: float, shown: str) -> None:
    labels = label_array((1,)).astype(np.float32)
    labels[3, 3, 3] = value
    write_volume(volume.label, labels)
    (problem,) = convert_volume(volume, target, RULE).problems
    assert f"label.nii.gz: {shown}" in problem


def test_scaled_labels_are_written_as_whole_numbers(volume: Volume, target: Path) -> None:
    write_volume(volume.label, label_array((1, 2)))
    scale_labels(volume.label)
    assert set(np.unique(nibabel.load(volume.label).get_fdata())) - {0, 1, 2}
    found = convert_volume(volume, target, RULE)
    assert found.labels == {1, 2}
    assert "values that are not whole were rounded" in found.notes
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(target / "labelsTr" / "case.nii.gz")))
    np.testing.assert_array_equal(written, label_array((1, 2)))


def test_label_values_stored_as_floats_are_fine(volume: Volume, target: Path) -> None:
    write_volume(volume.label, label_array((1, 3)).astype(np.float64))
    assert convert_volume(volume, target, RULE).labels == {1, 2}


def test_other_size(volume: Volume, target: Path) -> None:
    write_volume(volume.label, label_array((1,))[1:])
    (problem,) = convert_volume(volume, target, RULE).problems
    assert "label.nii.gz: 3 x 12 x 10 voxels, its image 4 x 12 x 10" in problem


def test_other_spacing_is_refused_unless_asked_for(volume: Volume, target: Path) -> None:
    write_volume(volume.label, label_array((1, 2)), (0.7, 0.8, 3.3))
    (problem,) = convert_volume(volume, target, RULE).problems
    assert "lies elsewhere than its image, up to 0.9 mm apart, with spacing 3.3 x 0.8 x 0.7 mm" in problem
    assert "--copy-geometry" in problem
    assert not (target / "labelsTr" / "case.nii.gz").exists()
    found = convert_volume(volume, target, LabelRule(RULE.values, RULE.merged, copy_geometry=True))
    assert found.notes == ("label file had another geometry and got its image's",)
    written = sitk.ReadImage(str(target / "labelsTr" / "case.nii.gz"))
    assert written.GetSpacing() == pytest.approx(SPACING_XYZ_MM)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), label_array((1, 2)))


@pytest.mark.parametrize(
    ("shift_mm", "accepted"), [(0.005, True), (0.5, False)], ids=["rounding of the origin", "shifted origin"]
)
def test_rounding_is_set_right(volume: Volume, target: Path, shift_mm: float, accepted: bool) -> None:
    label = sitk.ReadImage(str(volume.label))
    label.SetOrigin(tuple(value + shift_mm for value in ORIGIN_XYZ_MM))
    sitk.WriteImage(label, str(volume.label))
    found = convert_volume(volume, target, RULE)
    assert (not found.problems) == accepted
    if accepted:
        written = sitk.ReadImage(str(target / "labelsTr" / "case.nii.gz"))
        assert written.GetOrigin() == pytest.approx(ORIGIN_XYZ_MM)
        assert found.notes == ()
    else:
        assert "lies elsewhere than its image" in found.problems[0]


def test_turned_label(volume: Volume, target: Path) -> None:
    label = sitk.ReadImage(str(volume.label))
    label.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(label, str(volume.label))
    assert "lies elsewhere than its image" in convert_volume(volume, target, RULE).problems[0]


def test_four_dimensions(volume: Volume, target: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, *SHAPE), np.uint8), isVector=False), str(volume.image))
    (problem,) = convert_volume(volume, target, RULE).problems
    assert "expected a volume with one number a voxel, got 10 x 12 x 4 x 2" in problem


def test_file_that_cannot_be_read(volume: Volume, target: Path) -> None:
    volume.image.write_bytes(volume.image.read_bytes()[:200])
    (problem,) = convert_volume(volume, target, RULE).problems
    assert problem.startswith(f"{volume.image}: cannot be read (")


def test_not_finite(volume: Volume, target: Path) -> None:
    array = image_array(0).astype(np.float32)
    array[0, 0, 0] = np.inf
    write_volume(volume.image, array)
    assert "not finite" in convert_volume(volume, target, RULE).problems[0]


def test_empty_label_is_said(volume: Volume, target: Path) -> None:
    write_volume(volume.label, label_array(()))
    assert convert_volume(volume, target, RULE).notes == ("no foreground in the label file",)


def test_uncompressed_test_case(tmp_path: Path, target: Path) -> None:
    write_volume(tmp_path / "image.nii", image_array(5))
    found = convert_volume(Volume("case", tmp_path / "image.nii"), target, RULE)
    assert (found.labels, found.problems) == (frozenset(), ())
    written = sitk.ReadImage(str(target / "imagesTs" / "case_0000.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), image_array(5))
    assert written.GetSpacing() == pytest.approx(SPACING_XYZ_MM)
