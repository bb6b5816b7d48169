"""A folder of images: bad files and requests, what goes on after a kill, a full disk, and the command."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunetv2_masam.cli import main
from nnunetv2_masam.predict.cases import find_cases
from nnunetv2_masam.predict.loading import load_model, model_folder
from nnunetv2_masam.predict.output import write_labels
from nnunetv2_masam.predict.request import ModelOptions
from nnunetv2_masam.predict.run import predict
from tests.unit.predict.models import request, write_image, write_model

ROOT = Path(__file__).resolve().parents[3]
SHAPE = (8, 24, 26)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model", patch=(8, 24, 24))


@pytest.fixture(scope="module")
def loaded(folder):
    return load_model(ModelOptions(folder, folds=("0",), device="cpu"))


@pytest.fixture
def images(tmp_path) -> Path:
    for number in range(3):
        write_image(tmp_path / "images" / f"case{number}_0000.nii.gz", SHAPE, seed=number, border=1)
    return tmp_path / "images"


def command(folder: Path, images: Path, output: Path, *more: str) -> list[str]:
    words = ["predict", "-i", images, "-o", output, "-m", folder, "-f", "0", "-device", "cpu", *more]
    return list(map(str, [*words, "--disable_progress_bar"]))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.nii.gz")}


def test_bad_files_are_named_and_the_others_predicted(folder, images, tmp_path, capfd):
    (images / "case0_0000.nii.gz").write_bytes(b"no image")
    shutil.copy(images / "case1_0000.nii.gz", images / "case1_0001.nii.gz")
    write_image(images / "flat_0000.nii.gz", SHAPE[1:])
    for name, size in (("odd_0000.nii.gz", SHAPE), ("odd_0001.nii.gz", (9, 9, 9))):
        write_image(images / name, size)
    assert main(command(folder, images, tmp_path / "out", "--verbose")) == 1
    out, err = capfd.readouterr()
    assert names(tmp_path / "out") == {"case2.nii.gz"}
    assert "case2: " in out
    assert "1 segmentations written" in out
    for case, why in {
        "case0": "Unable to determine ImageIO reader",
        "case1": "2 channels, expected 1 (MRI)",
        "flat": "an image of 2 dimensions, expected 3",
        "odd": "its files do not fit together",
    }.items():
        (line,) = [line for line in err.splitlines() if line.startswith(f"nnUNetv2_masam predict: {case}: ")]
        assert f"not predicted: {why}" in line or why in line


def test_values_that_are_not_finite(loaded, images):
    """ITK reads them from NIfTI as 0; other formats and readers keep them."""
    image = np.full((1, *SHAPE), np.nan, np.float32)
    with (
        mock.patch.object(SimpleITKIO, "read_images", return_value=(image, {"spacing": [1, 1, 1]})),
        pytest.raises(ValueError, match="values that are not finite"),
    ):
        loaded.read([images / "case0_0000.nii.gz"])


def test_continue_leaves_what_is_there(folder, images, tmp_path, capsys):
    output = tmp_path / "out"
    output.mkdir()
    (output / "case1.nii.gz").write_text("mine")
    assert main(command(folder, images, output, "--continue_prediction")) == 0
    assert "2 segmentations written" in capsys.readouterr().out
    assert (output / "case1.nii.gz").read_text() == "mine"
    assert main(command(folder, images, output)) == 0
    assert (output / "case1.nii.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_parts_share_the_cases(folder, loaded, images, tmp_path):
    written = []
    for part in range(2):
        parts = request(folder, images, tmp_path / str(part), num_parts=2, part_id=part, preprocessing_threads=3)
        written.append([path.name for path in predict(parts, loaded).written])
    assert written == [["case0.nii.gz", "case2.nii.gz"], ["case1.nii.gz"]]


def test_one_folder_for_images_and_segmentations(folder, loaded, images):
    assert len(predict(request(folder, images, images), loaded).written) == 3
    assert len(predict(request(folder, images, images, continue_prediction=True), loaded).kept) == 3


def test_progress(folder, loaded, images, tmp_path):
    seen = []
    predict(request(folder, images, tmp_path / "out"), loaded, seen.append)
    assert [(step.case, step.number, step.cases) for step in seen if not step.slices] == [
        (f"case{number}", number + 1, 3) for number in range(3)
    ]
    assert (seen[-1].done, seen[-1].slices) == (SHAPE[0], SHAPE[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["-f", "0", "3"], r"no checkpoint_final.pth of fold 3; there is one of 0"),
        (["-chk", "checkpoint_best.pth"], r"no checkpoint_best.pth of fold 0; there is one of none"),
        (["-d", "4", "-c", "3d_fullres"], r"model: got both"),
        (["-m", "nowhere"], r"nowhere: no such model folder"),
        (["-step_size", "1.5"], r"-step_size: got 1.5"),
        (["-part_id", "1"], r"-part_id: got 1, expected 0 to 0"),
        (["-prev_stage_predictions", "."], r"the model is no second stage"),
        (["--save_probabilities"], r"Use nnUNetv2_predict"),
        (["-i", "nowhere"], r"nowhere: cannot be read as a folder"),
        (["-i", "."], r"no images, expected CASE_0000.nii.gz"),
        (["-o", "file"], r"file: File exists"),
    ],
)
def test_requests_that_cannot_be_met(folder, images, tmp_path, capsys, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main([*command(folder, images, tmp_path / "out"), *change]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert names(tmp_path) == set()


def test_no_gpu(folder, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([*command(folder, images, tmp_path / "out"), "-device", "cuda"]) == 2
    assert "Predict on the CPU with -device cpu" in capsys.readouterr().err


def test_a_cascade_needs_its_first_stage(images, tmp_path, capsys):
    second = write_model(tmp_path / "second", previous_stage="3d_lowres", patch=(8, 24, 24))
    assert main(command(second, images, tmp_path / "out")) == 2
    assert "predict the images with 3d_lowres first" in capsys.readouterr().err
    (tmp_path / "stage").mkdir()
    assert main(command(second, images, tmp_path / "out", "-prev_stage_predictions", str(tmp_path / "stage"))) == 1
    assert "case0.nii.gz: missing segmentation of the previous stage" in capsys.readouterr().err


def test_the_model_of_a_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunetv2_masam.predict.loading.folder_of", lambda variable: tmp_path)
    folder = write_model(tmp_path / "Dataset004_A" / "T__P__2d", folds=())
    options = ModelOptions(dataset="Dataset004_A", configuration="2d", trainer="T", plans="P")
    assert model_folder(options) == folder
    with pytest.raises(ValueError, match="model: got none"):
        model_folder(ModelOptions(dataset="Dataset004_A"))


def test_names_of_files(tmp_path):
    for name in ("b_0001.nii.gz", "b_0000.nii.gz", "a_b_0000.nii.gz", "._a_0000.nii.gz", "b.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    found = {case: [file.name for file in files] for case, files in find_cases(tmp_path, ".nii.gz").items()}
    assert found == {"a_b": ["a_b_0000.nii.gz"], "b": ["b_0000.nii.gz", "b_0001.nii.gz"]}
    (tmp_path / "forgotten.nii.gz").touch()
    with pytest.raises(ValueError, match=r"forgotten.nii.gz: got no channel number, expected CASE_0000.nii.gz"):
        find_cases(tmp_path, ".nii.gz")


@pytest.mark.parametrize(
    ("ending", "error", "message"),
    [(".nii.gz", OSError, "the disk of .* is probably full"), (".nrrd", RuntimeError, "Error writing")],
)
def test_a_disk_that_is_full_leaves_no_file(loaded, images, tmp_path, ending, error, message):
    """ITK says nothing when it cuts a NIfTI file short."""
    case = loaded.read([images / "case0_0000.nii.gz"])
    labels = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / f"case0{ending}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(error, match=message):
            write_labels(loaded.predictor, labels, path, case.properties)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.glob("*case0*")) == []
    assert write_labels(loaded.predictor, labels, path, case.properties) == path
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), labels)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_labels_of_two_bytes_that_fit_into_one(loaded, images, tmp_path, ending):
    """As of a model of 300 labels, of which a case has only the first; nnU-Net writes them as bytes."""
    case = loaded.read([images / "case0_0000.nii.gz"])
    labels = np.random.default_rng(0).integers(0, 9, SHAPE).astype(np.uint16)
    for highest in (8, 300):
        labels[0, 0, 0] = highest
        path = write_labels(loaded.predictor, labels, tmp_path / f"case0{ending}", case.properties)
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), labels)


KILLED = """
import os, signal, sys
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2_masam.cli import main
write = SimpleITKIO.write_seg
def killed(self, labels, path, properties):
    write(self, labels, path, properties)
    if "case1" in path:
        os.kill(os.getpid(), signal.SIGKILL)
SimpleITKIO.write_seg = killed
main(sys.argv[1:])
"""


def test_a_killed_run_leaves_whole_files_and_no_process(folder, loaded, images, tmp_path):
    output = tmp_path / "out"
    words = [sys.executable, "-c", KILLED, *command(folder, images, output)]
    child = subprocess.Popen(words, cwd=ROOT, start_new_session=True)
    assert child.wait(120) == -signal.SIGKILL
    assert session_of(child.pid) == set()
    assert names(output) == {"case0.nii.gz"}
    result = predict(request(folder, images, output, continue_prediction=True), loaded)
    assert result.kept == ["case0"]
    assert names(output) == {"case0.nii.gz", "case1.nii.gz", "case2.nii.gz"}
    assert list(output.glob(".*")) == []


def session_of(leader: int) -> set[int]:
    """Processes of a session that still run."""
    found = set()
    for process in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            if os.getsid(process) == leader:
                found.add(process)
        except OSError:
            continue
    return found
