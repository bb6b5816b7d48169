"""Model folders with small U-Nets of random weights, and images for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from nnunetv2_masam.predict.request import ModelOptions, PredictRequest

LINEAR = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
LABELS = {"background": 0, "a": 1, "b": 2, "c": 3}
REGIONS = {"background": 0, "whole": [1, 2, 3], "inner": [2, 3], "core": 3}


def request(model: Path, images: Path, output: Path, folds: tuple[str, ...] = ("0",), **more: Any) -> PredictRequest:
    """A prediction on the CPU."""
    return PredictRequest(ModelOptions(model, folds=folds, device="cpu"), images, output, **more)


def write_model(
    folder: Path,
    *,
    patch: tuple[int, ...] = (8, 32, 32),
    spacing_mm: tuple[float, ...] = (1.5, 1.0, 1.0),
    labels: dict[str, Any] = LABELS,
    channels: int = 1,
    folds: tuple[str, ...] = ("0",),
    transpose: tuple[int, int, int] = (0, 1, 2),
    mirror: tuple[int, ...] | None = None,
    previous_stage: str | None = None,
    reader: str = "SimpleITKIO",
    file_ending: str = ".nii.gz",
    **changed: Any,
) -> Path:
    """Write ``folder`` with plans.json, dataset.json and a checkpoint of a U-Net of two stages for each fold."""
    dimensions = len(patch)
    resampling = {"resampling_fn_probabilities": "resample_data_or_seg_to_shape"}
    resampling |= {"resampling_fn_probabilities_kwargs": LINEAR}
    for part, options in (("data", {**LINEAR, "order": 3}), ("seg", {**LINEAR, "is_seg": True})):
        resampling[f"resampling_fn_{part}"] = "resample_data_or_seg_to_shape"
        resampling[f"resampling_fn_{part}_kwargs"] = options
    name = f"{dimensions}d" if dimensions == 2 else "3d_fullres"
    configuration = {
        "data_identifier": "nnUNetPlans_x",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [20.0, 40.0, 40.0][-dimensions:],
        "spacing": list(spacing_mm),
        "normalization_schemes": ["ZScoreNormalization"] * channels,
        "use_mask_for_norm": [False] * channels,
        "batch_dice": False,
        **resampling,
        "architecture": _architecture(dimensions),
        **({"previous_stage": previous_stage} if previous_stage else {}),
        **changed,
    }
    plans = {
        "dataset_name": "Dataset001_A",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": reader,
        "label_manager": "LabelManager",
        "transpose_forward": list(transpose),
        "transpose_backward": [int(axis) for axis in np.argsort(transpose)],
        "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(channels)},
        "configurations": {name: configuration} | ({previous_stage: configuration} if previous_stage else {}),
    }
    description: dict[str, Any] = {
        "channel_names": {str(channel): "MRI" for channel in range(channels)},
        "labels": labels,
        "numTraining": 1,
        "file_ending": file_ending,
    }
    if any(isinstance(value, list) for value in labels.values()):
        description["regions_class_order"] = [1, 2, 3]
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(description))
    for fold in folds:
        _write_checkpoint(folder, fold, name, mirror)
    return folder


def _architecture(dimensions: int) -> dict[str, Any]:
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 8],
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [[3] * dimensions] * 2,
            "strides": [[1] * dimensions, [2] * dimensions],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _write_checkpoint(folder: Path, fold: str, configuration: str, mirror: tuple[int, ...] | None) -> None:
    """As nnU-Net's ``save_checkpoint``, as far as prediction reads it."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(json.loads((folder / "plans.json").read_text()))
    description = json.loads((folder / "dataset.json").read_text())
    manager = plans.get_configuration(configuration)
    torch.manual_seed(int.from_bytes(fold.encode(), "big"))
    network = nnUNetTrainer.build_network_architecture(
        plans,
        manager,
        determine_num_input_channels(plans, manager, description),
        plans.get_label_manager(description).num_segmentation_heads,
        False,
    )
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape) * 2 * parameter[0].numel() ** -0.5)
    (folder / f"fold_{fold}").mkdir()
    content = {
        "network_weights": network.state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": configuration},
        "inference_allowed_mirroring_axes": mirror,
    }
    torch.save(content, folder / f"fold_{fold}" / "checkpoint_final.pth")


def write_image(
    path: Path,
    shape: tuple[int, ...] = (14, 40, 44),
    spacing_xyz_mm: tuple[float, ...] = (0.9, 1.2, 2.0),
    seed: int = 0,
    border: int = 3,
) -> Path:
    """Smooth random values in a frame of zeros, which nnU-Net crops."""
    from scipy.ndimage import gaussian_filter

    array = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5).astype(np.float32) + 0.01
    inner = tuple(slice(border if size > 2 * border else 0, size - border + 1) for size in shape)
    framed = np.zeros(shape, np.float32)
    framed[inner] = array[inner]
    image = sitk.GetImageFromArray(framed)
    image.SetSpacing(spacing_xyz_mm)
    if len(shape) == 3:
        image.SetOrigin((-10.5, 20.25, 3.0))
        image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path
