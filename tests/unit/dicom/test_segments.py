"""Predictions become DICOM SEG with every voxel in its place, and come back the same."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from nnunetv2_masam.dicom.headers import scan_folder
from nnunetv2_masam.dicom.labels import read_segmentation
from nnunetv2_masam.dicom.requests import SegRequest
from nnunetv2_masam.dicom.segments import write_segs
from nnunetv2_masam.dicom.stacks import find_stacks
from tests.dicom_files import ROTATED, phantom, planes, values, write_series

KINDS = ["axial", "oblique", "reversed", "enhanced", "enhanced oblique"]


def written(case, form: str = "binary", **more) -> pydicom.Dataset:
    output = case.source.parent / f"segs_{form}"
    write_segs(SegRequest(case.predictions, case.source, output, form=form, **more))
    return pydicom.dcmread(output / f"{case.name}.dcm")


def labels_of(case, form: str = "binary", **more) -> np.ndarray:
    """Labels that come back, (D, H, W) in the order of the case's positions."""
    source = sitk.ReadImage(str(case.source.parent / "images" / f"{case.name}_0000.nii.gz"))
    image, _ = read_segmentation(Path(written(case, form, **more).filename), source)
    assert image.GetSize() == source.GetSize()
    return case.at_voxels(image)


@pytest.mark.parametrize("form", ["binary", "labelmap"])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(make_case, kind, form):
    case = make_case(kind)
    np.testing.assert_array_equal(labels_of(case, form), case.labels)


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_source_the_labels_are_in_the_same_place(make_case, kind):
    case = make_case(kind)
    image, names = read_segmentation(Path(written(case).filename))
    np.testing.assert_array_equal(case.at_voxels(image), case.labels)
    assert names == {1: "liver", 2: "tumor", 3: "widget"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_refers_to_every_slice_that_it_was_made_from(make_case, kind):
    case = make_case(kind)
    seg = written(case)
    first = pydicom.dcmread(next(case.source.iterdir()))
    assert seg.StudyInstanceUID == first.StudyInstanceUID
    assert seg.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert seg.PatientID == first.PatientID
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    sources = {path: pydicom.dcmread(path) for path in case.source.iterdir()}
    referenced = {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedInstanceSequence}
    assert referenced == {str(source.SOPInstanceUID) for source in sources.values()}
    by_uid = {str(source.SOPInstanceUID): source for source in sources.values()}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (item,) = frame.DerivationImageSequence[0].SourceImageSequence
        source = by_uid[str(item.ReferencedSOPInstanceUID)]
        if "enhanced" in kind:
            source = source.PerFrameFunctionalGroupsSequence[int(item.ReferencedFrameNumber) - 1].PlanePositionSequence[
                0
            ]
        ours = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(np.array(ours, float), np.array(source.ImagePositionPatient, float), atol=1e-4)


def test_segments_have_names_codes_and_colours(make_case):
    case = make_case()
    first, second, third = written(case).SegmentSequence
    assert [segment.SegmentLabel for segment in (first, second, third)] == ["liver", "tumor", "widget"]
    assert [segment.SegmentNumber for segment in (first, second, third)] == [1, 2, 3]
    kinds = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in (first, second, third)]
    schemes = [(kind.CodeValue, kind.CodingSchemeDesignator) for kind in kinds]
    assert schemes == [("10200004", "SCT"), ("108369006", "SCT"), ("widget", "99MASAM")]
    categories = [segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue for segment in (first, second, third)]
    assert categories == ["91723000", "49755003", "91723000"]  # anatomical, morphologically abnormal, anatomical
    assert {segment.SegmentAlgorithmType for segment in (first, second, third)} == {"AUTOMATIC"}
    assert len({tuple(segment.RecommendedDisplayCIELabValue) for segment in (first, second, third)}) == 3


def test_the_table_that_is_written_can_be_corrected_and_given_again(make_case, tmp_path):
    case = make_case()
    written(case)
    table = tmp_path / "segs_binary" / "segments.csv"
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    assert [row["label"] for row in rows] == ["1", "2", "3"]
    corrected = table.read_text("utf-8").replace("widget:99MASAM:widget", "51185008:SCT:Thorax")
    (tmp_path / "corrected.csv").write_text(corrected)
    seg = written(case, "labelmap", segments=tmp_path / "corrected.csv")
    codes = [item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in seg.SegmentSequence if item.SegmentNumber]
    assert codes == ["10200004", "108369006", "51185008"]


@pytest.mark.parametrize("form", ["binary", "labelmap"])
def test_an_empty_segment_is_described_and_has_no_frames(make_case, form):
    labels = phantom()
    labels[labels == 2] = 0
    case = make_case(labels=labels)
    seg = written(case, form)
    assert [item.SegmentLabel for item in seg.SegmentSequence if item.SegmentNumber] == ["liver", "tumor", "widget"]
    if form == "binary":
        frames = seg.PerFrameFunctionalGroupsSequence
        assert {frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber for frame in frames} == {1, 3}
    image, _ = read_segmentation(Path(seg.filename))
    np.testing.assert_array_equal(case.at_voxels(image), labels)


@pytest.mark.parametrize("form", ["binary", "labelmap"])
def test_a_prediction_without_any_segment(make_case, form):
    case = make_case(labels=np.zeros_like(phantom()))
    np.testing.assert_array_equal(labels_of(case, form), case.labels)


@pytest.mark.parametrize("axes", [(0, 1), (0, 1, 2), (2,)])
def test_predictions_whose_axes_are_flipped(make_case, axes):
    """As from images that dcm2niix or nibabel wrote: the same voxels in another order."""
    case = make_case("oblique")
    (path,) = case.predictions.glob("*.nii.gz")
    sitk.WriteImage(sitk.Flip(sitk.ReadImage(str(path)), [axis in axes for axis in range(3)]), str(path))
    np.testing.assert_array_equal(labels_of(case), case.labels)


def test_predictions_whose_axes_are_exchanged(make_case):
    case = make_case("oblique")
    (path,) = case.predictions.glob("*.nii.gz")
    sitk.WriteImage(sitk.PermuteAxes(sitk.ReadImage(str(path)), [2, 0, 1]), str(path))
    np.testing.assert_array_equal(labels_of(case), case.labels)


def test_labels_on_the_grid_of_a_reference(make_case):
    """As compare needs them: on a grid whose axes run another way, and which is larger than the file's frames."""
    case = make_case("oblique")
    (path,) = case.predictions.glob("*.nii.gz")
    reference = sitk.Flip(sitk.ReadImage(str(path)), [True, False, True])
    image, _ = read_segmentation(Path(written(case).filename), reference)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(reference))


def test_a_case_may_be_named_by_its_series(make_case):
    case = make_case()
    (path,) = case.predictions.glob("*.nii.gz")
    uid = str(pydicom.dcmread(next(case.source.iterdir())).SeriesInstanceUID)
    path.rename(path.with_name(f"{uid}.nii.gz"))
    _, files = write_segs(SegRequest(case.predictions, case.source, case.source.parent / "segs"))
    assert files == [f"{uid}.dcm"]


def test_regions_overlap(make_case):
    case = make_case()
    content = {"labels": {"background": 0, "whole": [1, 2], "core": 2, "bar": 3}, "file_ending": ".nii.gz"}
    (case.predictions / "dataset.json").write_text(json.dumps(content))
    seg = written(case)
    counts = dict.fromkeys((1, 2, 3), 0)
    for frame, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        counts[int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)] += int(pixels.sum())
    sizes = [int((case.labels == label).sum()) for label in (1, 2, 3)]
    assert counts == {1: sizes[0] + sizes[1], 2: sizes[1], 3: sizes[2]}
    with pytest.raises(ValueError, match="got labelmap for segments that overlap, expected binary"):
        written(case, "labelmap")
    with pytest.raises(ValueError, match=r"cannot be read as labels of a DICOM SEG .*overlap"):
        read_segmentation(Path(seg.filename))


def test_probabilities(make_case):
    case = make_case("oblique")
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), case.labels.shape).astype(np.float32)
    np.savez(case.predictions / f"{case.name}.npz", probabilities=np.moveaxis(probabilities, -1, 0))
    import highdicom

    seg = highdicom.seg.segread(written(case, "fractional").filename)
    assert seg.SegmentationFractionalType == "PROBABILITY"
    array = seg.get_volume().flip_spatial(0).array
    np.testing.assert_allclose(array, probabilities[..., 1:], atol=0.5 / 255 + 1e-6)
    with pytest.raises(ValueError, match=r"cannot be read as labels of a DICOM SEG .*FRACTIONAL"):
        read_segmentation(Path(seg.filename))


@pytest.mark.parametrize("present", [[3], [0, 7], [1, 4], [2, 3]])
def test_few_slices_that_are_not_empty(make_case, present):
    """The file then says nothing of the distance of slices but by the positions of its few frames."""
    labels = np.zeros_like(phantom())
    labels[present] = phantom()[[3]]
    case = make_case("oblique", labels=labels)
    np.testing.assert_array_equal(labels_of(case), labels)
    image, _ = read_segmentation(Path(case.source.parent / "segs_binary" / f"{case.name}.dcm"))
    np.testing.assert_array_equal(case.at_voxels(image), labels)
    assert image.GetSpacing()[2] == pytest.approx(2.5)


def test_one_slice(make_case):
    case = make_case(labels=phantom()[3:4])
    np.testing.assert_array_equal(labels_of(case), case.labels)
    image, _ = read_segmentation(case.source.parent / "segs_binary" / f"{case.name}.dcm")
    assert image.GetSpacing() == pytest.approx((0.7, 0.8, 2.5))


def test_probabilities_of_regions(make_case):
    case = make_case()
    content = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "file_ending": ".nii.gz"}
    (case.predictions / "dataset.json").write_text(json.dumps(content))
    (path,) = case.predictions.glob("*.nii.gz")
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(image * sitk.Cast(image < 3, sitk.sitkUInt8), str(path))
    probabilities = np.zeros((2, *case.labels.shape), np.float16)
    probabilities[0], probabilities[1, 3] = 1, 0.2
    np.savez(case.predictions / f"{case.name}.npz", probabilities=probabilities)
    frames = written(case, "fractional").PerFrameFunctionalGroupsSequence
    numbers = [int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber) for frame in frames]
    assert (numbers.count(1), numbers.count(2)) == (8, 1)


@pytest.mark.parametrize(
    ("labels", "table", "channels"),
    [
        ({"a": 1, "b": 2}, "2,b\n1,a", ([2], [1])),
        ({"whole": [1, 2], "core": 2}, "2,core\n1 2,whole", ([1], [0])),  # regions in another order
        ({"whole": [1, 2], "core": 2}, "2 1,whole", ([0],)),
    ],
)
def test_the_probabilities_of_a_segment_are_those_of_its_labels(make_case, labels, table, channels):
    import highdicom

    case = make_case(labels=phantom() % 3)
    content = {"labels": {"background": 0, **labels}, "file_ending": ".nii.gz"}
    (case.predictions / "dataset.json").write_text(json.dumps(content))
    (case.predictions / "own.csv").write_text(f"label,name\n{table}")
    count = 2 if "whole" in labels else 3
    probabilities = np.random.default_rng(0).dirichlet(np.ones(count), case.labels.shape).astype(np.float32)
    np.savez(case.predictions / f"{case.name}.npz", probabilities=np.moveaxis(probabilities, -1, 0))
    seg = written(case, "fractional", segments=case.predictions / "own.csv")
    array = highdicom.seg.segread(seg.filename).get_volume().flip_spatial(0).array
    expected = np.stack([probabilities[..., numbers].sum(-1) for numbers in channels], axis=-1)
    np.testing.assert_allclose(array, expected, atol=0.5 / 255 + 1e-6)


def test_names_beyond_ascii(make_case):
    """Of the patient, in the source's encoding, and of a segment."""
    case = make_case()
    for path in case.source.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", "Müller^Jörg"
        dataset.save_as(path)
    content = {"labels": {"background": 0, "肝": 1, "größe": 2, "c": 3}, "file_ending": ".nii.gz"}
    (case.predictions / "dataset.json").write_text(json.dumps(content))
    seg = written(case)
    assert str(seg.PatientName) == "Müller^Jörg"
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["肝", "größe", "c"]


# ---- what is refused


def refused(case, message: str, **more) -> None:
    output = case.source.parent / "refused"
    with pytest.raises(ValueError, match=message):
        write_segs(SegRequest(case.predictions, case.source, output, **more))
    assert not output.exists()


def test_no_probabilities(make_case):
    case = make_case()
    refused(case, "expected what nnUNetv2_predict --save_probabilities writes", form="fractional")
    np.savez(case.predictions / f"{case.name}.npz", probabilities=np.zeros((2, *case.labels.shape)))
    refused(case, "expected 4 channels", form="fractional")


def test_a_segment_without_probabilities(make_case):
    case = make_case(labels=phantom() % 3)
    content = {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "file_ending": ".nii.gz"}
    (case.predictions / "dataset.json").write_text(json.dumps(content))
    (case.predictions / "own.csv").write_text("label,name\n1,edge\n2,core")
    np.savez(case.predictions / f"{case.name}.npz", probabilities=np.zeros((2, *case.labels.shape)))
    refused(
        case,
        r"\['edge'\]: got no probabilities, expected labels or regions",
        form="fractional",
        segments=case.predictions / "own.csv",
    )


def test_a_case_of_another_source(make_case, tmp_path):
    case = make_case()
    write_series(tmp_path / "other", values(phantom()))
    with pytest.raises(ValueError, match=f"no usable series in .*other for {case.name}"):
        write_segs(SegRequest(case.predictions, tmp_path / "other", tmp_path / "segs"))


def test_other_grids(make_case):
    case = make_case()
    (path,) = case.predictions.glob("*.nii.gz")
    image = sitk.ReadImage(str(path))
    image.SetOrigin([place + 0.3 for place in image.GetOrigin()])
    sitk.WriteImage(image, str(path))
    refused(case, "has voxels at other places than its source")
    sitk.WriteImage(image[:, :, :5], str(path))
    refused(case, r"has \(5, 14, 12\) voxels, expected its source's \(8, 14, 12\)")
    image.SetDirection(np.linalg.qr(ROTATED.T, mode="complete")[0].ravel())
    sitk.WriteImage(image, str(path))
    refused(case, "has voxels at other places than its source")


def test_a_prediction_that_is_moved_by_whole_voxels(make_case):
    """Padding and cropping would make it fit, and lose what lies outside."""
    case = make_case()
    (path,) = case.predictions.glob("*.nii.gz")
    image = sitk.ReadImage(str(path))
    image.SetOrigin(image.TransformIndexToPhysicalPoint((1, 0, 0)))
    sitk.WriteImage(image, str(path))
    refused(case, "has voxels at other places than its source")


def test_labels_without_a_segment(make_case):
    labels = phantom()
    labels[0, 0, 0] = 9
    refused(make_case(labels=labels), r"holds label values \[9\], which dataset.json does not define")


def test_no_predictions(make_case):
    case = make_case()
    next(case.predictions.glob("*.nii.gz")).unlink()
    refused(case, "has no predictions")


def test_a_source_that_lacks_what_the_standard_demands(make_case):
    case = make_case()
    for path in case.source.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.PatientID
        dataset.save_as(path)
    refused(case, "lacks what DICOM SEG repeats of its source .*PatientID")


def test_another_kind_of_file_is_no_segmentation(make_case):
    path = next(make_case().source.iterdir())
    with pytest.raises(ValueError, match=f"{path.name}: cannot be read as labels of a DICOM SEG"):
        read_segmentation(path)


def test_a_reference_on_another_grid_is_refused(make_case):
    case = make_case()
    like = sitk.GetImageFromArray(case.labels)
    seg = Path(written(case).filename)
    with pytest.raises(ValueError, match="has voxels at other places than its source or reference"):
        read_segmentation(seg, like)
    (path,) = case.predictions.glob("*.nii.gz")
    with pytest.raises(ValueError, match="beyond its borders"):
        read_segmentation(seg, sitk.ReadImage(str(path))[:, :, :4])


def test_nothing_is_warned_of(make_case):
    """A patient's name of one component is valid, too."""
    case = make_case()
    for path in case.source.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientName = "phantom"
        dataset.save_as(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written(case)


@pytest.mark.parametrize("by_uid", [False, True])
def test_a_series_that_was_refused_is_explained(tmp_path, make_case, by_uid):
    """A gantry tilt: another tool may have made an upright image of it, which has another grid."""
    case = make_case()
    tilted = [position + number * np.array([0.0, 0.8, 0.0]) for number, position in enumerate(planes(8))]
    uid = write_series(tmp_path / "tilted", values(phantom()), tilted)
    (stack,) = find_stacks(scan_folder(tmp_path / "tilted").values())
    name = uid if by_uid else stack.case
    (case.predictions / f"{case.name}.nii.gz").rename(case.predictions / f"{name}.nii.gz")
    with pytest.raises(
        ValueError, match=rf"no usable series in .* for {name}, {name}: the series has .* tilt of 17\.7 deg"
    ):
        write_segs(SegRequest(case.predictions, tmp_path / "tilted", tmp_path / "segs"))
