"""An nnU-Net workspace in a temporary folder, with small data sets planned and preprocessed once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host.dataset import write_dataset

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
            "OMP_NUM_THREADS": "2",
        }


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Three data sets, preprocessed: plain labels; regions, two channels and an ignore label; an ignore label."""
    base = tmp_path_factory.mktemp("nnunet")
    space = Workspace(base / "raw", base / "preprocessed", base / "results")
    for folder in (space.raw, space.preprocessed, space.results):
        folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in space.environment.items():
            patch.setenv(name, value)
        patch.setenv("MASAM_CACHE", str(base / "cache"))
        patch.delenv("MASAM_CHECKPOINT", raising=False)
        from nnunetv2.experiment_planning.plan_and_preprocess_api import (
            extract_fingerprints,
            plan_experiments,
            preprocess,
        )

        for name, options in DATASETS.items():
            write_dataset(space.raw, name, **options)
        ids = [int(name[7:10]) for name in DATASETS]
        extract_fingerprints(ids, num_processes=1)
        plan_experiments(ids)
        preprocess(ids, configurations=("2d", "3d_fullres"), num_processes=[1, 1])
        patch.setenv("nnUNet_n_proc_DA", "0")  # augment in this process; the planner above refuses zero
        yield space
