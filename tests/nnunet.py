"""nnU-Net in this process: importing it takes a new process longer than most of what tests ask of it."""

from __future__ import annotations

import io
import multiprocessing.dummy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

USERS_OF_POOLS = (
    "nnunetv2.evaluation.evaluate_predictions",
    "nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor",
    "nnunetv2.experiment_planning.verify_dataset_integrity",
    "nnunetv2.preprocessing.preprocessors.default_preprocessor",
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer",
)


@contextmanager
def quick() -> Iterator[None]:
    """While this lasts, nnU-Net's pools of processes are pools of threads, and trainers draw no ``progress.png``."""
    with pytest.MonkeyPatch.context() as patch:
        for module in USERS_OF_POOLS:
            threads = SimpleNamespace(get_context=lambda method: multiprocessing.dummy)
            patch.setattr(f"{module}.multiprocessing", threads)
        patch.setattr("nnunetv2.utilities.utils.Pool", multiprocessing.dummy.Pool)
        patch.setattr("nnunetv2.training.logging.nnunet_logger.MetaLogger.plot_progress_png", lambda self, folder: None)
        yield


def plan_and_preprocess(datasets: Sequence[int], configurations: Sequence[str], *, verify: bool = False) -> None:
    """What ``nnUNetv2_plan_and_preprocess`` does.

    Args:
        datasets: numbers.
        configurations: to preprocess.
        verify: check the integrity of the datasets first.
    """
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiments, preprocess
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    with quick(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_n_proc_DA", "1")  # the planner refuses zero
        for dataset in datasets:
            extractor = DatasetFingerprintExtractor(dataset, num_processes=1)
            if verify:
                verify_dataset_integrity(extractor.input_folder, num_processes=1)
            extractor.num_foreground_voxels_for_intensitystats = 1e4  # drawn with replacement; 1e8 take seconds
            extractor.run()
        plan_experiments(list(datasets))
        preprocess(list(datasets), configurations=tuple(configurations), num_processes=[1] * len(configurations))


def run_command(command: str, *arguments: str | Path, folder: Path, environment: Mapping[str, str]) -> str:
    """What a console script of nnU-Net runs; returns what it prints."""
    (script,) = entry_points(group="console_scripts", name=command)
    output, threads = io.StringIO(), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, quick(), redirect_stdout(output), redirect_stderr(output):
        patch.chdir(folder)
        patch.setattr(sys, "argv", [command, *map(str, arguments)])
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            script.load()()
        finally:
            torch.set_num_threads(threads)
    return output.getvalue()


def stock_split(preprocessed: Path, fold: int, cases: Sequence[str]) -> tuple[list[str], list[str]]:
    """Training and validation cases that nnU-Net reads, on a stand-in for the trainer's attributes that it uses."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    trainer = SimpleNamespace(
        dataset_class=lambda *_, **__: SimpleNamespace(identifiers=list(cases)),
        fold=fold,
        preprocessed_dataset_folder="",
        preprocessed_dataset_folder_base=str(preprocessed),
        folder_with_segs_from_previous_stage=None,
        print_to_log_file=lambda *_: None,
    )
    return nnUNetTrainer.do_split(trainer)
