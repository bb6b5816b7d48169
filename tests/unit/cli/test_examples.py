"""The examples of help texts, run word for word in a folder that has what they name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunetv2_masam.cli import main
from nnunetv2_masam.network import MASAM
from tests.unit.cli.test_help import PARSERS, examples
from tests.unit.cli.test_plan import folder, planned  # noqa: F401
from tests.unit.datasets.conftest import (
    SPACING_XYZ_MM,
    btcv,  # noqa: F401
    folders,  # noqa: F401
    image_array,
    prostate6,  # noqa: F401
    write_volume,
)
from tests.unit.evaluation.conftest import DATASET
from tests.unit.weights.conftest import as_vit_b, known, sam_file, sam_state_dict, server  # noqa: F401
from tests.video_files import COLOURS, write_endovis18, write_video


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """Two datasets of volumes, and videos."""
    base = tmp_path_factory.mktemp("examples")
    labels = np.zeros((4, 12, 10), np.uint8)
    labels[1:3, 2:6, 3:7], labels[2, 3:5, 4:6] = 1, 2
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "pancreas": 1, "cancer": 2},
        "numTraining": 8,
        "file_ending": ".nii.gz",
    }
    for name in ("Dataset004_Organ", "Dataset007_Pancreas"):
        for part, count in (("Tr", 8), ("Ts", 2)):
            for number in range(count):
                write_volume(base / "raw" / name / f"images{part}" / f"{part}{number}_0000.nii.gz", image_array(number))
                write_volume(base / "raw" / name / f"labels{part}" / f"{part}{number}.nii.gz", labels)
        (base / "raw" / name / "dataset.json").write_text(json.dumps(description))
    # x = -3.5 - 0.7 i in LPS, so 3.5 + 0.7 i in RAS; y alike
    x, y, z = SPACING_XYZ_MM
    box = [3.5 + 4 * x, -4.25 + 3 * y, 7.0 + 2 * z, 3.5 + 5 * x, -4.25 + 4 * y, 7.0 + 2 * z]
    rows = [",".join([f"Ts{n}", *map(str, box)]) for n in range(2)]
    here = base / "raw" / "Dataset007_Pancreas"
    (here / "boxes.csv").write_text("\n".join(["case,x0,y0,z0,x1,y1,z1", *rows]))
    (here / "markups").mkdir()
    low, high = np.array(box[:3]), np.array(box[3:])
    region = {"type": "ROI", "coordinateSystem": "RAS", "center": ((low + high) / 2).tolist()}
    for n in range(2):
        content = {"markups": [{**region, "size": np.maximum(np.abs(high - low), 0.1).tolist()}]}
        (here / "markups" / f"Ts{n}.mrk.json").write_text(json.dumps(content))
    for n, count in enumerate((4, 3, 3)):
        write_video(here / "Surgery" / f"s{n}", count, seed=n, values=tuple(COLOURS.values()))
    colours = json.dumps({name: list(colour) for name, colour in COLOURS.items()})
    (here / "Surgery" / "labels.json").write_text(colours)
    write_video(here / "Video" / "s9", 3, seed=9, values=None)
    write_endovis18(here / "EndoVis2018")
    return base


@pytest.fixture
def here(template, tmp_path, monkeypatch) -> Path:
    """A copy to work in."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    monkeypatch.chdir(tmp_path / "raw" / "Dataset007_Pancreas")
    return Path.cwd()


def run_examples(prog: str) -> None:
    command = prog.split()[1:]
    own = [words for words in examples(PARSERS[prog]) if words[: len(command)] == command]
    assert own
    for words in own:
        assert main(words) == 0, words


def test_boxes(here):
    run_examples("nnUNetv2_masam boxes dataset")
    run_examples("nnUNetv2_masam boxes drawn")
    run_examples("nnUNetv2_masam boxes oracle")
    assert (here.parent / "Dataset107_PancreasBoxes" / "dataset.json").is_file()
    for name in ("inputs", "inputs_slicer", "inputs_5mm"):
        assert (here / name / "Ts1_0001.nii.gz").is_file()
    assert _read(here / "inputs") == _read(here / "inputs_slicer") < _read(here / "inputs_5mm")


def _read(inputs: Path) -> set[int]:
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(sitk.ReadImage(str(inputs / "Ts1_0001.nii.gz")))
    return set(np.flatnonzero(array).tolist())


def test_comparisons(dataset, tmp_path, monkeypatch):
    """Without the pictures of the report, which its own tests draw."""
    monkeypatch.setattr("nnunetv2_masam.evaluation.report.write_report", lambda *_: None)
    monkeypatch.setattr("nnunetv2_masam.evaluation.measure.default_num_processes", 1)  # it was read at import
    monkeypatch.chdir(tmp_path)
    for part in ("raw", "pre", "res"):
        (tmp_path / part / DATASET).rename(tmp_path / part / "Dataset004_Blobs")
    shutil.copytree("pre/Dataset004_Blobs/gt_segmentations", "labelsTs")
    shutil.copy("pre/Dataset004_Blobs/dataset.json", "dataset.json")
    for name, trainer in (("predA", "nnUNetTrainer"), ("predB", "nnUNetTrainerMASAM")):
        Path(name).mkdir()
        for file in Path("res/Dataset004_Blobs").glob(f"{trainer}__*/fold_*/validation/*.nii.gz"):
            shutil.copy(file, name)
    run_examples("nnUNetv2_masam compare")
    assert Path("comparison/cases.csv").is_file()


def test_folds(here):
    run_examples("nnUNetv2_masam few-shot")
    for number in range(1, 422):
        (here / "labelsTr" / f"pancreas_{number:03d}.nii.gz").touch()
    run_examples("nnUNetv2_masam fixed-folds")
    folds = json.loads((here.parents[1] / "preprocessed" / here.name / "fixed_folds.json").read_text())
    assert [entry["fold"] for entry in folds] == [5, 6, 7, 8, 9]


def test_videos(here):
    run_examples("nnUNetv2_masam convert endovis18")
    run_examples("nnUNetv2_masam convert video")
    run_examples("nnUNetv2_masam convert frames")
    dataset = here.parent / "Dataset018_EndoVis18"
    shutil.copytree(dataset / "labelsTs", here / "predictions")
    for fold, part in enumerate(("train_seq_1_part01", "train_seq_2_part01")):
        (here / f"fold_{fold}" / "validation").mkdir(parents=True)
        shutil.copy(dataset / "labelsTr" / f"{part}.nii.gz", here / f"fold_{fold}" / "validation")
    run_examples("nnUNetv2_masam video-scores")
    assert main(["frames", "-d", "18", "-i", "predictions", "-o", "masks"]) == 0
    scores = here / "scores" / "scores.md"
    kept = scores.read_text()
    scores.write_text("mine")
    again = ["video-scores", "-d", "18", "-i", "predictions", "-o", "scores"]
    assert main(again) == 2
    assert scores.read_text() == "mine"
    assert main([*again, "--overwrite"]) == 0
    assert scores.read_text() == kept


def test_volumes(btcv, prostate6, folders, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    monkeypatch.chdir(tmp_path)
    Path("Abdomen").symlink_to(btcv)
    Path("Processed_data_nii").symlink_to(prostate6)
    run_examples("nnUNetv2_masam convert btcv")
    run_examples("nnUNetv2_masam convert prostate6")
    assert [path.name for path in sorted(folders.raw.iterdir())] == ["Dataset017_BTCV", "Dataset018_Prostate6"]


def test_plans(folder, capsys):  # noqa: F811
    (folder / "nnUNetMASAMPlans.json").unlink()
    run_examples("nnUNetv2_masam plan")
    assert "preprocess with: nnUNetv2_preprocess -d 4 -plans_name nnUNetPlans -c 3d_fullres" in capsys.readouterr().out
    written = {path.stem for path in folder.glob("nnUNetMASAMPlans*.json")}
    assert written == {"nnUNetMASAMPlans", "nnUNetMASAMPlans_24G", "nnUNetMASAMPlans_11G"}


def test_fitting_a_checkpoint(folder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    with torch.device("meta"):
        network = MASAM(1, 3)
    tensors = {name: torch.zeros(tensor.shape) for name, tensor in network.state_dict().items()}
    content = {"network_weights": tensors, "trainer_name": "nnUNetTrainerMASAM", "init_args": {}}
    torch.save(content, "checkpoint_final.pth")
    run_examples("nnUNetv2_masam adapt-pretrained")
    assert Path("fitted.pth").is_file()


def test_doctor(folder):  # noqa: F811
    run_examples("nnUNetv2_masam doctor")


def test_weights(as_vit_b, sam_file, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("MASAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shutil.copy(sam_file, "sam_vit_b_01ec64.pth")
    run_examples("nnUNetv2_masam weights")
    run_examples("nnUNetv2_masam weights download")
    run_examples("nnUNetv2_masam weights check")
    assert (tmp_path / "weights" / as_vit_b.file_name).is_file()
    assert capsys.readouterr().out.count("(verified)") == 2
