"""DICOM SEG read and checked by tools of others; each test is skipped where its tool is not installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from nnunetv2_masam.dicom.requests import SegRequest
from nnunetv2_masam.dicom.segments import write_segs
from tests.dicom_files import phantom

KINDS = ["axial", "oblique", "reversed", "enhanced", "enhanced oblique"]


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def seg_of(case, form: str = "binary") -> Path:
    output = case.source.parent / f"segs_{form}"
    write_segs(SegRequest(case.predictions, case.source, output, form=form))
    return output / f"{case.name}.dcm"


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---- dcmqi


def read_by_dcmqi(seg: Path) -> tuple[sitk.Image, dict]:
    folder = seg.parent / "dcmqi"
    folder.mkdir()
    command = tool("segimage2itkimage")
    run(command, "--inputDICOM", seg, "--outputDirectory", folder, "-t", "nrrd", "--mergeSegments")
    (image,) = folder.glob("*.nrrd")
    return sitk.ReadImage(str(image)), json.loads((folder / "meta.json").read_text("utf-8"))


@pytest.mark.parametrize("form", ["binary", "labelmap"])
@pytest.mark.parametrize("kind", KINDS)
def test_dcmqi_reads_the_same_labels_in_the_same_place(make_case, kind, form):
    case = make_case(kind)
    image, _ = read_by_dcmqi(seg_of(case, form))
    np.testing.assert_array_equal(case.at_voxels(image), case.labels)


def test_dcmqi_reads_the_names_and_codes(make_case):
    _, described = read_by_dcmqi(seg_of(make_case()))
    segments = [segment for group in described["segmentAttributes"] for segment in group]
    assert [segment["SegmentLabel"] for segment in segments] == ["liver", "tumor", "widget"]
    codes = [segment["SegmentedPropertyTypeCodeSequence"]["CodeValue"] for segment in segments]
    assert codes == ["10200004", "108369006", "widget"]
    assert len({tuple(segment["recommendedDisplayRGBValue"]) for segment in segments}) == 3


def test_dcmqi_reads_a_file_with_an_empty_segment(make_case):
    labels = phantom()
    labels[labels == 1] = 0
    case = make_case(labels=labels)
    image, _ = read_by_dcmqi(seg_of(case))
    np.testing.assert_array_equal(case.at_voxels(image), labels)


def test_dcmqi_reads_probabilities_as_labels(make_case):
    """As docs/dicom.md says: stored values of a fractional file, 0 to 255, are label values for it."""
    case = make_case()
    probabilities = np.zeros((4, *case.labels.shape), np.float32)
    probabilities[1] = case.labels == 1
    probabilities[1, case.labels == 2] = 0.5
    np.savez(case.predictions / f"{case.name}.npz", probabilities=probabilities)
    image, _ = read_by_dcmqi(seg_of(case, "fractional"))
    assert set(np.unique(sitk.GetArrayFromImage(image))) == {0, 128, 255}


# ---- dicom3tools


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(make_case, kind):
    command = tool("dciodvfy")
    report = subprocess.run([command, seg_of(make_case(kind))], capture_output=True, text=True, check=False).stderr
    assert "Segmentation" in report
    assert [line for line in report.splitlines() if line.startswith("Error")] == []


def test_dciodvfy_finds_no_error_in_probabilities(make_case):
    command = tool("dciodvfy")
    case = make_case()
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), case.labels.shape)
    np.savez(case.predictions / f"{case.name}.npz", probabilities=np.moveaxis(probabilities, -1, 0))
    report = subprocess.run([command, seg_of(case, "fractional")], capture_output=True, text=True, check=False).stderr
    assert [line for line in report.splitlines() if line.startswith("Error")] == []


# ---- pydicom-seg and SimpleITK


@pytest.mark.parametrize("kind", KINDS)
def test_pydicom_seg_reads_the_same_labels_in_the_same_place(make_case, kind):
    """Its version 0.4.1 needs pydicom before 3."""
    pydicom_seg = pytest.importorskip("pydicom_seg", exc_type=ImportError)
    case = make_case(kind)
    result = pydicom_seg.MultiClassReader().read(pydicom.dcmread(seg_of(case)))
    np.testing.assert_array_equal(case.at_voxels(result.image), case.labels)


def test_simpleitk_reads_the_frames(make_case):
    """It puts one frame after the other, whatever their segment and place; so this is a test of the voxels alone."""
    case = make_case()
    seg = seg_of(case)
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(seg)))
    np.testing.assert_array_equal(frames > 0, pydicom.dcmread(seg).pixel_array > 0)
    assert (frames > 0).sum() == (case.labels > 0).sum()
