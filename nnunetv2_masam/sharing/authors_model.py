"""A model trained by the MA-SAM authors' code as a model folder of nnU-Net's.

The network comes out the same; what nnU-Net cannot do as the authors do (their ``test.py`` and ``preprocessing/``) is
stated in the folder's ``README.txt`` and in its plans.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nnunetv2_masam.files import atomic_folder, refuse_existing, sha256_of, shortened, write_json, write_text
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.nnunet_files import read_dataset_json
from nnunetv2_masam.plans_file import NETWORK_CLASS
from nnunetv2_masam.sharing.authors_checkpoint import AuthorsModel, recognise_authors_model
from nnunetv2_masam.sharing.authors_tasks import DIFFERENCES, TASKS, AuthorsTask
from nnunetv2_masam.sharing.requests import ImportRequest
from nnunetv2_masam.weights import (
    CheckpointError,
    LoadReport,
    Provenance,
    identify,
    load_masam_checkpoint,
    load_sam_checkpoint,
)
from nnunetv2_masam.weights.provenance import KEY

IMPORT_PLANS = "nnUNetMASAMImportPlans"
CONFIGURATION = "3d_fullres"
TRAINER = "nnUNetTrainerMASAM_paper"
SLICES = 5  # D of a stack, in all of the authors' models


@dataclass(frozen=True)
class ImportedModel:
    """What was written.

    Attributes:
        plans: content of its ``plans.json``.
        readme: text of its ``README.txt``: how to predict, and what differs from the authors' procedure.
    """

    folder: Path
    plans: dict[str, Any]
    readme: str


def _check_complete(adapt: Path, sam: Path, network: MASAM, reports: Sequence[LoadReport]) -> None:
    """Refuse files that together do not hold the whole network."""
    held = {name for report in reports for name in (*report.loaded, *report.resized)}
    if missing := [name for name in network.state_dict() if name not in held]:
        raise CheckpointError(
            f"{adapt}: {len(missing)} tensors of the network are neither in it nor in {sam} ({shortened(missing)}); "
            "expected all that the authors' code trains in the one and all of SAM in the other. Use their complete "
            "epoch_N.pth, of a training with FacT and adapters in every block"
        )


def import_authors_model(request: ImportRequest) -> ImportedModel:
    """Write a model folder for a file saved by the authors' code.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: there is no such task, the window's ends are not finite or not in order, channels or labels do not
            fit the model, or the output folder is not empty.
        CheckpointError: a file is not what it should be, or the two lack a tensor of the network.
    """
    refuse_existing(request.output)
    task = _task_of(request)
    description = read_dataset_json(request.dataset_json)
    model = recognise_authors_model(request.adapt, request.sam, request.image_size, request.scale)
    channels = _check_dataset(description, model.num_classes, request.dataset_json)
    network = MASAM(channels, model.num_classes, **model.arch_kwargs)
    reports = [load_sam_checkpoint(network, request.sam), load_masam_checkpoint(network, request.adapt)]
    _check_complete(request.adapt, request.sam, network, reports)
    plans = import_plans(model, task, description, channels)
    files = {"adapt": request.adapt, "sam": request.sam}
    plans["masam_import"] = {
        "task": request.task,
        **{name: {"file": file.name, "sha256": sha256_of(file)} for name, file in files.items()},
        "differences": [*DIFFERENCES, *task.differences],
    }
    readme = _readme(request.output, plans, [str(report) for report in reports])
    _write_folder(request.output, network, identify(request.sam), plans, description, readme)
    return ImportedModel(request.output, plans, readme)


def _task_of(request: ImportRequest) -> AuthorsTask:
    """The task, with the window and the size that were asked for."""
    if request.task not in TASKS:
        raise ValueError(f"--task: got {request.task!r}, expected one of {', '.join(TASKS)}")
    task = TASKS[request.task]
    if (window := request.window) is not None and not (all(map(math.isfinite, window)) and window[0] < window[1]):
        raise ValueError(
            f"--window: got {window[0]:g} and {window[1]:g}, expected two finite intensities, the lower one first. For "
            "the task's own window, leave it out"
        )
    return replace(task, window=request.window or task.window, in_plane=request.in_plane or task.in_plane)


def import_plans(
    model: AuthorsModel, task: AuthorsTask, description: Mapping[str, Any], channels: int
) -> dict[str, Any]:
    """nnU-Net plans that prepare images as the authors do, as far as nnU-Net can."""
    # CTNormalization clips to two percentiles, then takes off the mean and divides by the standard deviation
    low, high = task.window or (0.0, 1.0)
    statistics = {"percentile_00_5": low, "percentile_99_5": high, "mean": low, "std": high - low}
    statistics |= {"min": low, "max": high, "median": (low + high) / 2}
    reader = description.get("overwrite_image_reader_writer", "SimpleITKIO")
    if reader == "NibabelIOWithReorient":
        reader = "SimpleITKIO"  # the authors' half turn is against the file's own axis order
    return {
        "dataset_name": description.get("name") or "Dataset000_Imported",
        "plans_name": IMPORT_PLANS,
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [100, *task.in_plane],
        "image_reader_writer": reader,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {CONFIGURATION: _configuration(model, task, channels)},
        "experiment_planner_used": "MASAMPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): statistics for channel in range(channels)},
    }


def _configuration(model: AuthorsModel, task: AuthorsTask, channels: int) -> dict[str, Any]:
    """The one configuration of the plans; nothing is resampled."""
    normalisation = "RescaleTo01Normalization" if task.window is None else "CTNormalization"
    untouched: dict[str, Any] = {
        f"resampling_fn_{what}{suffix}": value
        for what in ("data", "seg", "probabilities")
        for suffix, value in (("", "no_resampling_hack"), ("_kwargs", {}))
    }
    return {
        "data_identifier": f"{IMPORT_PLANS}_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 24,
        "micro_batch_size": 1,
        "patch_size": [SLICES, *task.in_plane],
        "median_image_size_in_voxels": [100, *task.in_plane],
        "spacing": [1.0, 1.0, 1.0],  # of no effect
        "normalization_schemes": [normalisation] * channels,
        "use_mask_for_norm": [False] * channels,
        **untouched,
        "batch_dice": True,
        "architecture": {
            "network_class_name": NETWORK_CLASS,
            "arch_kwargs": model.arch_kwargs,
            "_kw_requires_import": [],
        },
    }


def _check_dataset(description: Mapping[str, Any], num_classes: int, path: Path) -> int:
    """Number of channels, if they and the labels fit a model with ``num_classes`` outputs."""
    labels = [name for name in description["labels"] if name != "ignore"]
    if "regions_class_order" in description or len(labels) != num_classes:
        raise ValueError(
            f"{path}: got {len(labels)} labels, background included ({', '.join(labels)}); the model has {num_classes} "
            "outputs for exclusive labels. For the authors' models on BTCV the adrenal glands are one label, number 12"
        )
    channels = len(description.get("channel_names") or description["modality"])
    if channels not in (1, 3):
        raise ValueError(
            f"{path}: got {channels} channels; expected 1, or 3 for colour images: the models take no other"
        )
    return channels


def _readme(out: Path, plans: Mapping[str, Any], reports: Sequence[str]) -> str:
    configuration = plans["configurations"][CONFIGURATION]
    arch_kwargs = configuration["architecture"]["arch_kwargs"]
    lines = [
        f"Model of the MA-SAM authors' code, from {plans['masam_import']['adapt']['file']} and "
        f"{plans['masam_import']['sam']['file']}, task {plans['masam_import']['task']}.",
        f"ViT {arch_kwargs['vit']}, FacT rank {arch_kwargs['fact_rank']}, adapters of "
        f"{arch_kwargs['adapter_channels']} channels, patch {tuple(configuration['patch_size'])} voxels, network input "
        f"{tuple(arch_kwargs['image_size'])} pixels.",
        "",
        "Predict with steps of one slice (a fifth of the patch) and without mirroring:",
        f"  nnUNetv2_predict_from_modelfolder -i IMAGES -o PREDICTIONS -m {out} -f all -step_size 0.2 --disable_tta",
        "nnUNetv2_predict finds the folder as "
        f"nnUNet_results/DatasetXXX_Name/{TRAINER}__{IMPORT_PLANS}__{CONFIGURATION} (-tr {TRAINER} -p {IMPORT_PLANS}).",
        "",
        "As the authors do: axial slices in the order of the file (the first axis of SimpleITK's array), turned by 180 "
        "degrees for the network; nothing resampled; stacks of five slices.",
        "What differs:",
        *(f"- {difference}" for difference in plans["masam_import"]["differences"]),
        "",
        "What became of the tensors:",
        *reports,
    ]
    return "\n".join(lines) + "\n"


def _write_folder(
    out: Path,
    network: MASAM,
    sam: Provenance,
    plans: dict[str, Any],
    description: dict[str, Any],
    readme: str,
) -> None:
    checkpoint = {
        "network_weights": network.state_dict(),
        "init_args": {"configuration": CONFIGURATION, "fold": "all", KEY: sam.as_dict()},
        "trainer_name": TRAINER,
        "inference_allowed_mirroring_axes": None,
    }
    with atomic_folder(out) as partial:
        (partial / "fold_all").mkdir()
        torch.save(checkpoint, partial / "fold_all" / "checkpoint_final.pth")
        write_json(partial / "plans.json", plans, indent=4)
        write_json(partial / "dataset.json", description, indent=4)
        write_text(partial / "README.txt", readme)
