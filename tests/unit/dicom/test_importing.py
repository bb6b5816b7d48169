"""Every kind of series becomes an image with its values in its place, or is refused with a reason."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import generate_uid

from nnunetv2_masam.dicom.importing import TABLE, import_folder, outcome
from nnunetv2_masam.dicom.requests import ImportRequest
from tests.dicom_files import (
    AXIAL,
    COLUMN_MM,
    PATIENT,
    ROTATED,
    ROW_MM,
    STEP_MM,
    phantom,
    planes,
    values,
    write_enhanced,
    write_series,
)
from tests.unit.dicom.conftest import value_at

STORED = values(phantom())
HU = STORED - 1024
SHUFFLED = [3, 1, 0, 2, 7, 5, 6, 4]
SAGITTAL = np.array([[0.0, 1, 0], [0, 0, -1]])
CORONAL = np.array([[1.0, 0, 0], [0, 0, -1]])


def imported(folder: Path) -> list[tuple[sitk.Image, str]]:
    """Images and what was left out of them."""
    rows = import_folder(ImportRequest(folder, folder.parent / "images"))
    assert all((folder.parent / "images" / file).is_file() for file, _ in rows)
    return [(sitk.ReadImage(str(folder.parent / "images" / file)), outcome(stack)) for file, stack in rows if file]


def reason(folder: Path) -> str:
    with pytest.raises(ValueError, match="can be used: not imported: the series ") as error:
        import_folder(ImportRequest(folder, folder.parent / "images"))
    assert not (folder.parent / "images").exists()
    return str(error.value).rpartition("the series ")[2]


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "scanner"


# ---- series that are images


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("axes", [AXIAL, ROTATED, SAGITTAL, CORONAL], ids=["axial", "oblique", "sagittal", "coronal"])
@pytest.mark.parametrize("order", [range(8), range(7, -1, -1), SHUFFLED], ids=["forward", "reversed", "shuffled"])
def test_single_frames(folder, modality, axes, order):
    """In any orientation, and in any order of the files and of their positions."""
    positions = planes(8, axes)
    write_series(folder, STORED[list(order)], [positions[n] for n in order], axes, modality)
    ((image, result),) = imported(folder)
    expected = HU if modality == "CT" else STORED
    np.testing.assert_array_equal(value_at(image, positions, axes, STORED.shape), expected)
    np.testing.assert_allclose(image.GetSpacing(), (COLUMN_MM, ROW_MM, STEP_MM), rtol=1e-6)
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) == pytest.approx(1)
    assert image.GetPixelID() == sitk.sitkInt16
    assert result == "imported"


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("axes", [AXIAL, ROTATED], ids=["axial", "oblique"])
def test_frames_of_an_enhanced_file(folder, modality, axes):
    positions = planes(8, axes)
    write_enhanced(folder, STORED[SHUFFLED], [positions[n] for n in SHUFFLED], axes, modality)
    ((image, _),) = imported(folder)
    np.testing.assert_array_equal(value_at(image, positions, axes, STORED.shape), HU)
    np.testing.assert_allclose(image.GetSpacing(), (COLUMN_MM, ROW_MM, STEP_MM), rtol=1e-6)


def test_rescale_slopes_that_differ_between_frames(folder):
    slopes = [1, 2.5, 0.5, 1, 3, 1.25, 1, 2]
    write_enhanced(folder, STORED, slopes=slopes)
    ((image, _),) = imported(folder)
    expected = STORED * np.array(slopes)[:, None, None] - 1024
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected.astype(np.float32))


def test_rescale_slopes_that_differ_between_slices(folder):
    """Whole numbers first: SimpleITK's reader of series takes the first file's type and cuts the fractions."""
    slopes = [1, 2.5, 0.5, 1, 3, 1.25, 1, 2]
    write_series(
        folder, STORED, modality="MR", each=[{"RescaleSlope": str(s), "RescaleIntercept": "-3"} for s in slopes]
    )
    ((image, _),) = imported(folder)
    expected = STORED * np.array(slopes)[:, None, None] - 3
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected.astype(np.float32))


def test_values_beyond_16_bits(folder):
    write_series(folder, STORED, modality="MR", RescaleSlope="40", RescaleIntercept="0")
    ((image, _),) = imported(folder)
    assert image.GetPixelID() == sitk.sitkInt32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), STORED * 40)


def test_one_slice(folder):
    write_series(folder, STORED[:1])
    ((image, _),) = imported(folder)
    assert image.GetSize() == (12, 14, 1)
    assert image.GetSpacing()[2] == STEP_MM


@pytest.mark.parametrize("keyword", ["ImageOrientationPatient", "PixelSpacing"])
def test_slices_whose_plane_is_rounded_differently(folder, keyword):
    turned = [[np.cos(t), np.sin(t), 0, -np.sin(t), np.cos(t), 0] for t in (0.00995, 0.01005)]
    two = {
        "ImageOrientationPatient": np.round(turned, 6).tolist(),
        "PixelSpacing": [[ROW_MM, COLUMN_MM + 1e-6 * n] for n in range(2)],
    }
    write_series(folder, STORED, each=[{keyword: two[keyword][n % 2]} for n in range(len(STORED))])
    ((image, _),) = imported(folder)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU)


def test_slices_that_share_an_identifier_are_all_there(folder):
    """As some tools leave them that take patient data out of files."""
    write_series(folder, STORED, SOPInstanceUID="1.2.3")
    ((image, result),) = imported(folder)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU)
    assert result == "imported"


def test_a_folder_that_was_copied_twice(folder):
    write_series(folder / "a", STORED)
    shutil.copytree(folder / "a", folder / "b")
    ((image, result),) = imported(folder)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU)
    assert result == "imported; 8 copies of files left out"


def test_positions_that_are_rounded(folder):
    """To a tenth of a millimetre, as some exports do, so that gaps alternate."""
    positions = [np.array([0, 0, round(0.625 * n, 2)]) for n in range(8)]
    write_series(folder, STORED, positions)
    ((image, _),) = imported(folder)
    assert image.GetSpacing()[2] == pytest.approx(0.625, abs=2e-3)


@pytest.mark.parametrize(
    "attribute", ["EchoTime", "AcquisitionNumber", "TemporalPositionIdentifier", "DiffusionBValue"]
)
def test_several_images_in_one_series(folder, attribute):
    """Each is an image of its own, and the table says which."""
    each = [{attribute: 7 + n % 2} for n in range(16)]
    write_series(
        folder, np.repeat(STORED, 2, 0) + np.arange(16)[:, None, None] % 2, np.repeat(planes(8), 2, 0), each=each
    )
    rows = import_folder(ImportRequest(folder, folder.parent / "images"))
    assert len({file for file, _ in rows}) == 2
    for file, stack in rows:
        image = sitk.ReadImage(str(folder.parent / "images" / file))
        number = int(float(stack.part.removeprefix(f"{attribute}=")))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU + number - 7)


def test_two_attributes_that_tell_images_apart_together(folder):
    each = [{"EchoTime": 5 + n % 2, "TemporalPositionIdentifier": 1 + n // 2 % 2} for n in range(32)]
    write_series(folder, np.repeat(STORED, 4, 0), np.repeat(planes(8), 4, 0), each=each)
    images = imported(folder)
    assert len(images) == 4
    assert all(image.GetSize() == (12, 14, 8) for image, _ in images)


def test_two_blocks_of_one_series_with_a_gap_between(folder):
    """As of neck and abdomen: each is a regular stack."""
    positions = [*planes(4), *(np.array([0, 0, 200.0]) + position for position in planes(4))]
    write_series(folder, STORED, positions, each=[{"AcquisitionNumber": 1 + n // 4} for n in range(8)])
    assert [image.GetSize()[2] for image, _ in imported(folder)] == [4, 4]


def test_several_times_in_one_enhanced_file(folder):
    content = [{"TemporalPositionIndex": 1 + n % 2} for n in range(16)]
    write_enhanced(folder, np.repeat(STORED, 2, 0), np.repeat(planes(8), 2, 0), content=content)
    assert [image.GetSize() for image, _ in imported(folder)] == 2 * [(12, 14, 8)]


def test_a_localiser_inside_of_a_series_is_left_out(folder):
    series = write_series(folder / "a", STORED)
    write_series(folder / "b", STORED[:1], axes=CORONAL, series=series, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    rows = import_folder(ImportRequest(folder, folder.parent / "images"))
    assert [outcome(stack) for _, stack in rows] == ["imported", "not imported: the series is a localiser"]


# ---- series that are not


@pytest.mark.parametrize("degrees", [-20, 5])
def test_a_tilted_gantry(folder, degrees):
    tilt = np.tan(np.radians(degrees))
    positions = [np.array([0, STEP_MM * n * tilt, STEP_MM * n]) for n in range(8)]
    write_series(folder, STORED, positions)
    assert f"gantry tilt of {abs(degrees)}.0 degrees" in reason(folder)


@pytest.mark.parametrize("enhanced", [False, True])
def test_a_missing_slice(folder, enhanced):
    present = [0, 1, 2, 4, 5, 6, 7]
    write = write_enhanced if enhanced else write_series
    write(folder, STORED[present], [planes(8)[n] for n in present])
    assert reason(folder) == "lacks 1 slices, the first after slice 3 of 7 (5.00 mm to the next, not 2.50 mm)"


def test_doubled_slices_with_other_values(folder):
    write_series(folder, STORED, [planes(8)[n] for n in (0, 1, 2, 3, 3, 4, 5, 6)])
    assert "several slices at one position" in reason(folder)


def test_uneven_spacing(folder):
    write_series(folder, STORED, [np.array([0, 0, z]) for z in (0, 1, 2, 3, 4.5, 6, 7.5, 9)])
    assert reason(folder) == "is unevenly spaced (slices are 1.00 to 1.50 mm apart); resample it evenly"


def test_a_localiser_that_says_so(folder):
    write_series(folder, STORED[:3], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert reason(folder) == "is a localiser"


def test_a_localiser_that_does_not_say_so(folder):
    series = generate_uid()
    for axes in (AXIAL, SAGITTAL, CORONAL):
        write_series(folder, STORED[:1], axes=axes, series=series)
        for file in folder.glob("*.dcm"):
            file.rename(file.with_name(f"{generate_uid()[-12:]}.dcm"))
            break
    assert "differ in orientation or size: a localiser?" in reason(folder)


def test_colours(folder):
    write_series(folder, np.zeros((3, 14, 12, 3)), modality="MR")
    assert reason(folder) == "has colours (RGB), expected one value per voxel"


def test_no_positions(folder):
    write_series(folder, STORED)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.ImagePositionPatient
        dataset.save_as(path)
    assert "no positions" in reason(folder)


def test_axes_that_are_not_perpendicular(folder):
    write_series(folder, STORED, planes(8), np.array([[1.0, 0, 0], [0.5, 0.8660254, 0]]))
    assert "not perpendicular" in reason(folder)


def test_an_old_multi_frame_file(folder):
    write_enhanced(folder, STORED)
    (path,) = folder.iterdir()
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(path)
    assert "no positions" in reason(folder)


def test_another_object(folder):
    write_series(folder, STORED, Modality="SEG")
    assert reason(folder) == "holds no image but another object (modality SEG)"


def test_voxels_that_are_cut_off(folder):
    write_enhanced(folder, STORED)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    assert "has voxels that cannot be read" in reason(folder)


def test_no_dicom(folder):
    folder.mkdir()
    (folder / "notes.txt").write_text("no DICOM")
    with pytest.raises(ValueError, match="has no DICOM image"):
        imported(folder)
    with pytest.raises(ValueError, match="is no folder"):
        imported(folder / "notes.txt")


# ---- a tree of several patients


@pytest.fixture
def tree(folder) -> Path:
    """Two patients with two series each, one of which is refused, and other files."""
    for patient in ("a", "b"):
        study = generate_uid()
        write_series(folder / patient / "1", STORED, study=study, SeriesDescription="Axial T1")
        bad = {"ImageType": ["DERIVED", "PRIMARY", "LOCALIZER"], "SeriesDescription": "scout"}
        write_series(folder / patient / "2", STORED[:2], study=study, **bad)
        write_series(folder / patient / "3", STORED, study=study, SeriesDescription="t2 FLAIR ax")
    (folder / "README.txt").write_text("exported")
    return folder


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / TABLE, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_says_which_file_is_which_series(tree, tmp_path):
    import_folder(ImportRequest(tree, tmp_path / "images"))
    rows = table(tmp_path / "images")
    assert list(rows[0]) == ["file", "part", "slices", "spacing_mm", "result", "SeriesInstanceUID", "Modality"]
    assert [row["result"][:12] for row in rows] == 2 * ["imported", "not imported", "imported"]
    assert {row["file"] for row in rows} - {""} == {path.name for path in (tmp_path / "images").glob("*.nii.gz")}
    for row in (row for row in rows if row["file"]):
        (found,) = (path for path in tree.glob("*/*/*_000.dcm") if row["SeriesInstanceUID"][-6:] in path.name)
        assert str(pydicom.dcmread(found).SeriesInstanceUID) == row["SeriesInstanceUID"]
        assert row["spacing_mm"] == "2.5 x 0.8 x 0.7"


def test_no_patient_data_leaves_by_default(tree, tmp_path):
    import_folder(ImportRequest(tree, tmp_path / "images", file_ending=".nrrd"))
    files = list((tmp_path / "images").iterdir())
    assert len(files) == 5
    for secret in [*PATIENT.values(), "Doe", "20260102", "Phantoms"]:
        assert not [path for path in files if secret.encode() in path.read_bytes() or secret in path.name]


def test_columns_are_chosen(tree, tmp_path):
    import_folder(ImportRequest(tree, tmp_path / "images", columns=("PatientID", "SeriesDescription")))
    rows = table(tmp_path / "images")
    assert [row["SeriesDescription"] for row in rows[:3]] == ["Axial T1", "scout", "t2 FLAIR ax"]
    assert {row["PatientID"] for row in rows} == {PATIENT["PatientID"]}
    assert "SeriesInstanceUID" not in rows[0]
    with pytest.raises(ValueError, match="columns: got PatientNumber, expected DICOM keywords"):
        import_folder(ImportRequest(tree, tmp_path / "more", columns=("PatientID", "PatientNumber")))


def test_names_are_the_same_in_every_import(tree, tmp_path):
    import_folder(ImportRequest(tree, tmp_path / "images"))
    shutil.move(tree / "a", tmp_path / "elsewhere")
    import_folder(ImportRequest(tmp_path / "elsewhere", tmp_path / "again"))
    assert {path.name for path in (tmp_path / "again").iterdir()} < {
        path.name for path in (tmp_path / "images").iterdir()
    }


def test_an_existing_folder_is_refused(tree):
    with pytest.raises(ValueError, match="expected a new or empty folder"):
        import_folder(ImportRequest(tree, tree))
