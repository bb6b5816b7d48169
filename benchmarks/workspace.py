"""nnU-Net's folders in a workspace that a benchmark can be continued in, and commands that run there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from nnunetv2_masam.catalogue import trainers_folder

HERE = Path(__file__).resolve().parent
CONFIGURATION = "3d_fullres"


def set_environment(workspace: Path, workers: int | None = None) -> None:
    """Folders of nnU-Net and of the trainers, for this process and the commands that it starts.

    Args:
        workspace: holds nnU-Net's folders.
        workers: processes that load data and that export; nnU-Net's defaults if None.
    """
    for name in ("raw", "preprocessed", "results"):
        (workspace / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(workspace / name)
    trainers = str(trainers_folder())
    os.environ["nnUNet_extTrainer"] = os.pathsep.join([str(HERE / "trainers"), trainers])
    if workers is not None:
        os.environ["nnUNet_n_proc_DA"] = os.environ["nnUNet_def_n_proc"] = str(workers)
    paths = [str(HERE.parent), trainers, os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)


def prepare(data: Path, configurations: tuple[str, ...] = (CONFIGURATION,)) -> tuple[str, str]:
    """Copy, plan and preprocess a dataset unless that is done; its name and number."""
    dataset, number = data.name, data.name[7:10]
    raw, preprocessed = (Path(os.environ[f"nnUNet_{name}"]) / dataset for name in ("raw", "preprocessed"))
    if not raw.exists():
        shutil.copytree(data, raw)
    if not (preprocessed / "nnUNetPlans.json").is_file():
        processes = ["2"] * len(configurations)
        call("nnUNetv2_plan_and_preprocess", "-d", number, "-c", *configurations, "-np", *processes, "-npfp", "2")
    return dataset, number


def call(command: str, *arguments: str) -> None:
    """Run a command of this environment; its failure ends the benchmark."""
    subprocess.run([str(Path(sys.executable).parent / command), *arguments], check=True)
