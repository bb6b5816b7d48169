"""An nnU-Net workspace in a temporary folder, with small datasets planned and preprocessed once, and its commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host.dataset import write_dataset
from tests.nnunet import plan_and_preprocess, quick, run_command

TRAINERS = Path(__file__).parent / "trainers"
CHECKOUT = Path(__file__).resolve().parents[2]

DATASETS = {
    "Dataset901_Plain": {},
    "Dataset902_Regions": {"channels": 2, "regions": True, "ignore_label": True},
    "Dataset903_Ignore": {"ignore_label": True},
}


@dataclass
class Workspace:
    """Paths of nnU-Net's three folders, and the environment that commands need."""

    raw: Path
    preprocessed: Path
    results: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": os.pathsep.join([str(TRAINERS), str(CHECKOUT / "trainers")]),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "MASAM_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }


@dataclass
class Shell:
    """Runs commands as a user types them, in one folder and with nnU-Net's variables set."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, command: str, *arguments: str | Path) -> str:
        """Run a command of this environment in a process of its own; returns what it prints."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / command), *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, **self.environment, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output[-3000:]
        return output

    def inside(self, command: str, *arguments: str | Path) -> str:
        """The same in this process, with all data loaded in it, which saves importing nnU-Net."""
        environment = {**self.environment, "nnUNet_n_proc_DA": "0"}
        return run_command(command, *arguments, folder=self.folder, environment=environment)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Three datasets, preprocessed: plain labels; regions, two channels and an ignore label; an ignore label."""
    base = tmp_path_factory.mktemp("nnunet")
    space = Workspace(base / "raw", base / "preprocessed", base / "results")
    for folder in (space.raw, space.preprocessed, space.results):
        folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in space.environment.items():
            patch.setenv(name, value)
        patch.setenv("MASAM_CACHE", str(base / "cache"))
        patch.delenv("MASAM_CHECKPOINT", raising=False)
        for name, options in DATASETS.items():
            write_dataset(space.raw, name, **options)
        plan_and_preprocess([int(name[7:10]) for name in DATASETS], ("2d", "3d_fullres"))
        patch.setenv("nnUNet_n_proc_DA", "0")  # augment in this process
        with quick():
            yield space


@pytest.fixture(scope="session")
def shell(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Commands in an empty folder."""
    return Shell(tmp_path_factory.mktemp("empty"), workspace.environment)
