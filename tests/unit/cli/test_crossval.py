"""Runs of many folds, with a stand-in for ``nnUNetv2_train`` that leaves the files that nnU-Net leaves."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_masam.cli import main
from nnunetv2_masam.crossval.jobs import (
    FINISHED,
    NEW,
    RESUME,
    VALIDATE,
    Job,
    make_jobs,
    run_locally,
    status_lines,
)
from nnunetv2_masam.crossval.slurm import Submission, submit
from tests.plans import plans_with
from tests.unit.cli.test_help import PARSERS, examples
from tests.unit.evaluation.conftest import DATASET

STAND_IN = """#!{python}
import os, sys, time
from pathlib import Path
_, dataset, configuration, fold, *options = sys.argv
trainer, plans = options[options.index("-tr") + 1], options[options.index("-p") + 1]
model = f"{{trainer}}__{{plans}}__{{configuration}}"
folder = Path(os.environ["nnUNet_results"], dataset, model, f"fold_{{fold}}")
(folder / "validation").mkdir(parents=True, exist_ok=True)
gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "-")
print("2026-01-01 00:00:00.0: Epoch 7 ", flush=True)
with open(os.environ["CALLS"], "a") as calls:
    calls.write(f"{{trainer}} {{fold}} gpu={{gpu}} {{' '.join(options[4:])}}\\n")
time.sleep(0.1)
if trainer == "Broken":
    (folder / "checkpoint_latest.pth").touch()
    sys.exit(3)
(folder / "checkpoint_final.pth").touch()
(folder / "validation" / "summary.json").write_text("{{}}")
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "nnUNetv2_train"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "res"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls.txt"))
    monkeypatch.setattr("nnunetv2_masam.evaluation.measure.default_num_processes", 1)  # it was read at import
    return tmp_path / "calls.txt"


@pytest.fixture
def planned(dataset: Any) -> Any:
    """The dataset with plans."""
    plans = plans_with({"network_class_name": "UNet", "arch_kwargs": {}})
    dataset.write_json(dataset.preprocessed / "nnUNetPlans.json", plans)
    return dataset


def jobs_of(tmp_path: Path, trainers: list[str], folds: list[int], **more: Any) -> list[Job]:
    results, logs = tmp_path / "res", tmp_path / "logs"
    return make_jobs("Dataset901_Blobs", "3d_fullres", trainers, folds, results=results, logs=logs, **more)


def test_what_is_left_is_read_from_the_folder(tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, ["A"], [0], pretrained_weights=Path("sam.pth"))
    job.folder.mkdir(parents=True)
    assert job.state() == NEW
    assert job.command()[-2:] == ["-pretrained_weights", "sam.pth"]
    (job.folder / "checkpoint_best.pth").touch()
    assert job.state() == RESUME
    assert job.command()[-1] == "--c"
    assert "-pretrained_weights" not in job.command()
    (job.folder / "checkpoint_final.pth").touch()
    assert job.state() == VALIDATE
    assert job.command()[-1] == "--val"
    (job.folder / "validation").mkdir()
    (job.folder / "validation" / "summary.json").touch()
    assert job.state() == FINISHED


def test_jobs_share_the_gpus_and_finished_ones_are_skipped(tmp_path: Path, calls: Path) -> None:
    jobs = jobs_of(tmp_path, ["A", "B"], [0, 1])
    lines: list[str] = []
    assert run_locally(jobs, ["4", "6"], lines.append, every_s=0.05) == []
    first = calls.read_text().splitlines()
    assert len(first) == 4
    assert {line.split()[2] for line in first} == {"gpu=4", "gpu=6"}
    assert all(job.state() == FINISHED for job in jobs)
    assert "$ CUDA_VISIBLE_DEVICES=" in jobs[0].log.read_text()
    assert any("runs on GPU" in line and "epoch 7" in line for line in lines)
    assert run_locally(jobs, ["4"], lines.append) == []
    assert calls.read_text().splitlines() == first


def test_a_failure_leaves_the_others_running_and_is_resumed(tmp_path: Path, calls: Path) -> None:
    jobs = jobs_of(tmp_path, ["Broken", "A"], [0])
    lines: list[str] = []
    assert run_locally(jobs, ["0"], lines.append) == [jobs[0]]
    assert jobs[1].state() == FINISHED
    assert any(f"failed with code 3, see {jobs[0].log}" in line for line in lines)
    assert status_lines(jobs) == ["Broken fold 0  to be resumed, epoch 7", "A fold 0       finished"]
    run_locally(jobs, ["0"], lines.append)
    assert calls.read_text().splitlines()[-1] == "Broken 0 gpu=0 --c"


def test_examples_run_what_is_left_and_compare(
    planned: Any,
    calls: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("nnunetv2_masam.evaluation.report.write_report", lambda *_: None)
    dataset = planned
    for folder in ("raw", "pre", "res"):
        (tmp_path / folder / DATASET).rename(tmp_path / folder / "Dataset004_Blobs")
    dataset.results = tmp_path / "res" / "Dataset004_Blobs"
    train, status, slurm = examples(PARSERS["nnUNetv2_masam crossval"])
    for trainer in ("nnUNetTrainer", "nnUNetTrainerMASAM"):
        for fold in range(3):
            (dataset.model_folder(trainer) / f"fold_{fold}" / "checkpoint_final.pth").touch()
    (dataset.model_folder("nnUNetTrainerMASAM") / "fold_2" / "validation" / "summary.json").unlink()
    assert main(status) == 0
    assert "nnUNetTrainerMASAM fold 2  to be validated" in capsys.readouterr().out
    assert not calls.exists()
    assert main(train) == 0
    assert calls.read_text() == "nnUNetTrainerMASAM 2 gpu=0 --val\n"
    assert (dataset.results / "crossval" / "comparison" / "cases.csv").is_file()
    submitted = []
    monkeypatch.setattr(
        "nnunetv2_masam.crossval.slurm.submit",
        lambda jobs, parameters, folder: (
            submitted.append(([job.name for job in jobs], parameters)) or Submission(jobs, [], [], parameters, folder)
        ),
    )
    (dataset.model_folder("nnUNetTrainer") / "fold_1" / "validation" / "summary.json").unlink()
    assert main(slurm) == 0
    assert submitted == [(["nnUNetTrainer fold 1"], {"slurm_partition": "gpu", "timeout_min": 2880})]
    shown = capsys.readouterr().out
    assert "submitted 1 jobs to SLURM, each with slurm_partition=gpu, timeout_min=2880" in shown


def test_command_reports_failures(
    planned: Any, calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nnunetv2_masam.crossval.prepare.find_trainer", lambda name: None)
    arguments = ["crossval", "-d", "901", "-c", "3d_fullres", "-tr", "Broken", "--folds", "0"]
    assert main(arguments) == 1
    assert "1 of 1 failed" in capsys.readouterr().out


def test_a_dataset_that_is_not_preprocessed(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crossval", "-d", "Dataset777_Nowhere", "-c", "3d_fullres", "-tr", "A", "--dry-run"]) == 2
    assert "-d Dataset777_Nowhere: not in nnUNet_preprocessed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-tr", "nnUNetTrainerMASAMM"], "trainer 'nnUNetTrainerMASAMM' is neither in"),
        (["-p", "OtherPlans"], "-p OtherPlans: not in"),
        (["-c", "3d_other"], "-c 3d_other: not in"),
        (["--pretrained-weights", "missing.pth"], "--pretrained-weights missing.pth: no such file"),
        (["-o", __file__], "is a file, expected a folder"),
    ],
)
def test_what_would_fail_in_every_job_is_refused_before_the_first(
    options: list[str], message: str, planned: Any, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["crossval", "-d", "901", "-c", "3d_fullres", "-tr", "nnUNetTrainer", "--folds", "1", *options]
    (planned.model_folder("nnUNetTrainer") / "fold_1" / "validation" / "summary.json").unlink()
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not calls.exists()


def test_cluster_parameters_are_checked(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["crossval", "-d", "901", "-c", "3d_fullres", "-tr", "A", "--slurm", "gpu"]
    assert main(arguments) == 2
    assert "expected KEY=VALUE" in capsys.readouterr().err


def test_a_submitted_job_runs_once(tmp_path: Path, calls: Path) -> None:
    """submitit's own local executor instead of SLURM."""
    pytest.importorskip("submitit")
    jobs = jobs_of(tmp_path, ["A"], [0, 1], device="cpu")
    folder, parameters = tmp_path / "slurm", {"timeout_min": 2, "cpus_per_task": 1}
    submission = submit(jobs, parameters, folder, cluster="local")
    assert [handle.result() for handle in submission.submitted] == [0, 0]
    assert all(job.state() == FINISHED for job in jobs)
    again = submit(jobs, parameters, folder, cluster="local")
    assert [handle.result() for handle in again.submitted] == [0, 0]
    assert list(again.again) == jobs
    assert len(calls.read_text().splitlines()) == 2


def test_folds_that_validate_on_training_cases_are_refused(
    planned: Any, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned.splits[1]["train"].append("case_2")
    planned.write_json(planned.preprocessed / "splits_final.json", planned.splits)
    arguments = ["crossval", "-d", "901", "-c", "3d_fullres", "-tr", "nnUNetTrainer", "--folds", "1"]
    (planned.model_folder("nnUNetTrainer") / "fold_1" / "validation" / "summary.json").unlink()
    assert main(arguments) == 2
    assert "validation cases that are also training cases: fold 1: case_2" in capsys.readouterr().err
    assert not calls.exists()
