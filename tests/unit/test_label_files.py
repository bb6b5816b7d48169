"""One reader of label files: whole numbers within rounding are taken and said, all else is refused with its value."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from PIL import Image

from nnunetv2_masam.data_checks import faults_of_files
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.measure import Pair, Protocol, measure
from nnunetv2_masam.folds.few_shot import labels_of_cases
from nnunetv2_masam.label_files import check_segment_names, defined_values, read_labels, whole_numbers
from nnunetv2_masam.prompts.channel import ReferenceBoxes, Written
from nnunetv2_masam.prompts.requests import MaskBoxes

READERS = (SimpleITKIO, NibabelIO)


def save_scaled(path, values, header):
    """As nibabel saves a float array under an integer header: scaled to the header's range."""
    image = nibabel.Nifti1Image(np.float32(values).reshape(-1, 1, 1) * np.ones((1, 3, 2), np.float32), np.eye(4))
    image.header.set_data_dtype(header)
    nibabel.save(image, path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("header", [np.uint8, np.int8, np.int16, np.uint16])
@pytest.mark.parametrize("largest", [1, 2, 4, 7, 25, 117, 200, 254])
def test_labels_that_nibabel_has_scaled_are_what_was_saved(tmp_path, reader, header, largest):
    save_scaled(tmp_path / "a.nii.gz", np.arange(largest + 1), header)
    found = read_labels(tmp_path / "a.nii.gz", reader)
    assert found.labels.dtype == np.uint8
    assert set(np.unique(found.labels)) == set(range(largest + 1))
    stored = nibabel.load(tmp_path / "a.nii.gz").get_fdata()
    assert bool(found.note) == bool((np.float32(stored) % 1).any())


def test_a_note_names_the_file_and_a_value(tmp_path):
    save_scaled(tmp_path / "a.nii.gz", [0, 1, 2], np.uint8)
    note = read_labels(tmp_path / "a.nii.gz", SimpleITKIO).note
    assert note.startswith(f"{tmp_path / 'a.nii.gz'}: 0.996078 and other values that are not whole were rounded")


@pytest.mark.parametrize(
    ("values", "header", "shown"),
    [([0, 0.5, 1], np.float32, "0.5"), ([0, 0.3, 2], np.uint8, "0.298"), ([0, 0.9, 1], np.int16, r"0\.(9|899)")],
)
def test_values_between_labels_are_refused(tmp_path, values, header, shown):
    save_scaled(tmp_path / "a.nii.gz", values, header)
    with pytest.raises(ValueError, match=rf"a\.nii\.gz: holds {shown}\d*, expected whole numbers; .* interpolated"):
        read_labels(tmp_path / "a.nii.gz", SimpleITKIO)


def test_values_that_are_not_finite_or_of_another_kind_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        whole_numbers(np.array([0, np.nan]), tmp_path)
    with pytest.raises(ValueError, match="type complex128"):
        whole_numbers(np.array([0j]), tmp_path)


def test_the_smallest_type_that_holds_them(tmp_path):
    for value, kind in ((255, np.uint8), (256, np.int32), (-1, np.int32), (2**31 - 1, np.int32)):
        assert whole_numbers(np.array([0.0, value]), tmp_path)[0].dtype == kind
    assert whole_numbers(np.array([False, True]), tmp_path)[0].tolist() == [0, 1]
    assert whole_numbers(np.zeros((0, 2, 2)), tmp_path)[0].shape == (0, 2, 2)


@pytest.mark.parametrize(
    "array", [np.array([0, 1e30], np.float32), np.array([2**63 + 5], np.uint64), np.array([2**31])]
)
def test_values_that_no_label_has_are_refused(tmp_path, array):
    with pytest.raises(ValueError, match=f"holds {int(array.max())}, expected labels, whole numbers up to 2147483647"):
        whole_numbers(array, tmp_path)


def test_values_that_dataset_json_lacks_are_refused(tmp_path):
    allowed = defined_values({"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}})
    assert allowed == {0, 1, 2, 3}
    with pytest.raises(ValueError, match=r"holds label values \[7\], which dataset.json does not define"):
        whole_numbers(np.array([0, 7]), tmp_path, allowed)


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (sitk.Image([4, 4, 3], sitk.sitkVectorUInt8, 3), "3 values per voxel"),
        (sitk.Image([4, 4, 1], sitk.sitkVectorUInt8, 3), "3 values per voxel"),  # one slice: nnU-Net sees one channel
        (sitk.Image([4, 4, 3], sitk.sitkComplexFloat32), "(complex numbers|2 values per voxel)"),  # by the format
        (sitk.Image([4, 4, 3, 2], sitk.sitkUInt8), "4 x 4 x 3 x 2 voxels"),
    ],
)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_what_is_no_label_map_is_refused_by_name(tmp_path, image, what, ending):
    sitk.WriteImage(image, str(tmp_path / f"a{ending}"))
    with pytest.raises(ValueError, match=rf"a{ending}: has {what}"):
        read_labels(tmp_path / f"a{ending}", SimpleITKIO)


def test_a_picture_of_colours_is_refused(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: has 3 values per voxel"):
        read_labels(tmp_path / "a.png", NaturalImage2DIO)
    Image.new("L", (5, 4), 2).save(tmp_path / "b.png")
    assert read_labels(tmp_path / "b.png", NaturalImage2DIO).labels.tolist() == [[[2] * 5] * 4]


def test_unreadable(tmp_path):
    (tmp_path / "a.nii.gz").write_text("no image")
    with pytest.raises(ValueError, match=r"a\.nii\.gz: cannot be read"):
        read_labels(tmp_path / "a.nii.gz", SimpleITKIO)


SEGMENTS = {"background": 0, "liver": 1, "tumor": 2, "both": [1, 2]}


DATASET = {"labels": SEGMENTS, "channel_names": {"0": "CT"}, "file_ending": ".nrrd", "numTraining": 1}


def measured(path):
    values = frozenset({0, 1, 2})
    parts = (Structure("liver", "1", (1,), (1,)), Structure("tumor", "2", (2,), (2,)))
    measure(Pair(path, path, None, Protocol(SimpleITKIO, parts, (2.0, 2.0), None, values, values)))


READING = [
    measured,
    lambda path: labels_of_cases({"a": path}, DATASET),
    lambda path: ReferenceBoxes(MaskBoxes(("liver",)), DATASET).read(path, Written()),
]


def save_segments(path, numbers):
    """As 3D Slicer writes a segmentation of one layer."""
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3)
    for place, (name, number) in enumerate(numbers.items()):
        for key, value in (("ID", f"Segment_{place}"), ("Name", name), ("LabelValue", str(number)), ("Layer", "0")):
            image.SetMetaData(f"Segment{place}_{key}", value)
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize("numbers", [{"liver": 1, "tumor": 2}, {"Liver": 1}, {"vessel": 2, "both": 3}, {}])
def test_segments_of_slicer_with_the_numbers_of_dataset_json(tmp_path, numbers):
    save_segments(tmp_path / "a.seg.nrrd", numbers)
    check_segment_names(tmp_path / "a.seg.nrrd", SEGMENTS)


@pytest.mark.parametrize("numbers", [{"tumor": 1, "liver": 2}, {"vessel": 1, "Liver": 3}])
def test_segments_of_slicer_with_other_numbers_are_refused(tmp_path, numbers):
    save_segments(tmp_path / "a.nrrd", numbers)
    with pytest.raises(ValueError, match=r"a\.nrrd: its header names the segment '.*' and gives it the value \d, data"):
        check_segment_names(tmp_path / "a.nrrd", SEGMENTS)


@pytest.mark.parametrize("read", READING)
def test_all_commands_look_at_the_names(tmp_path, read):
    save_segments(tmp_path / "good.nrrd", {"liver": 1})
    read(tmp_path / "good.nrrd")
    save_segments(tmp_path / "a.nrrd", {"liver": 2, "tumor": 1})
    with pytest.raises(ValueError, match=r"a\.nrrd: its header names the segment '(liver|tumor)'"):
        read(tmp_path / "a.nrrd")


def test_doctor_names_files_with_other_numbers(tmp_path, monkeypatch):
    folder = tmp_path / "raw" / "Dataset901_Slicer"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    (folder / "dataset.json").write_text(json.dumps(DATASET))
    save_segments(folder / "imagesTr" / "a_0000.nrrd", {})
    save_segments(folder / "labelsTr" / "a.nrrd", {"liver": 2, "tumor": 1})
    (fault,) = faults_of_files("901")
    assert fault.subject == "a"
    assert "its header names the segment" in fault.detail
