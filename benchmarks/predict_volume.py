"""Large volumes through ``predict`` on a CPU: many classes, and many slices; seconds and peak memory.

    python benchmarks/predict_volume.py classes                     # 117 classes at 500 x 512 x 512
    python benchmarks/predict_volume.py slices --workspace FOLDER   # 1000 slices of CT, MA-SAM tiny, file to file
    python benchmarks/predict_volume.py classes --classes 5 --shape 50 128 128         # to see it work

``classes`` makes logits by a network of one 1 x 1 x 1 convolution, in tiles of 128 x 128 x 128 at 1.5 mm, so that what
is measured is the sums of the tiles, the resampling and the labels. Where nnU-Net's export does not fit into memory, it
is computed from the shapes: logits in half precision, a copy in float64, and the resampled logits in half precision.
``slices`` runs the whole command, with weights as they are before the training. Swapped pages count over the machine.
Writes ``benchmarks/results/predict-volume-<what>-cpu.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import describe_environment
from workspace import set_environment

from nnunetv2_masam.catalogue import trainers_folder
from nnunetv2_masam.predict.cases import Case
from nnunetv2_masam.predict.model import Model

HERE = Path(__file__).resolve().parent
SPACING_MM, PLANNED_MM = (1.25, 0.8, 0.8), (1.5, 1.5, 1.5)


def main() -> None:
    """Measure one of the two, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("classes", "slices"))
    parser.add_argument("--classes", type=int, default=117)
    parser.add_argument("--shape", type=int, nargs=3, metavar="N", help="default: 500 or 1000, 512, 512")
    parser.add_argument("--workspace", type=Path, help="for slices")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    shape = tuple(args.shape or (500 if args.what == "classes" else 1000, 512, 512))
    swapped = swapped_pages()
    measured = many_classes(args.classes, shape) if args.what == "classes" else many_slices(args.workspace, shape)
    settings = {"shape": shape, "classes": args.classes if args.what == "classes" else 3}
    result = {"environment": describe_environment(), "settings": settings, **measured}
    result["swapped_pages"] = swapped_pages() - swapped
    target = args.output or HERE / "results" / f"predict-volume-{args.what}-cpu.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def swapped_pages() -> int:
    """Pages that the machine has read from swap since it started."""
    lines = Path("/proc/vmstat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("pswpin "))


def many_classes(classes: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """Labels from a preprocessed image of random values."""
    model, case = volume_model(classes, shape, torch.device("cpu"), torch.device("cpu"))
    started = time.perf_counter()
    labels = model.segment(case)
    assert len(np.unique(labels)) > 1
    numbers, after = classes * case.image[0].numel(), classes * np.prod(shape, dtype=float)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "stock_export_gb_computed": round((numbers * (2 + 8) + after * 2) / 1e9, 1),
    }


def volume_model(
    classes: int, shape: tuple[int, ...], device: torch.device, results: torch.device
) -> tuple[Model, Case]:
    """A network of one convolution, and a preprocessed image of random values for it."""
    from volume import make_predictor

    source = [round(n * a / b) for n, a, b in zip(shape, SPACING_MM, PLANNED_MM, strict=True)]
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, classes, 1).to(device)
    predictor = make_predictor(network, tuple(min(128, n) for n in source), device, False, classes)
    predictor.plans_manager.plans |= {"transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2]}
    predictor.configuration_manager.configuration |= {
        "spacing": list(PLANNED_MM),
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"order": 1, "order_z": 0, "force_separate_z": None},
    }
    properties = {
        "spacing": list(SPACING_MM),
        "shape_before_cropping": shape,
        "shape_after_cropping_and_before_resampling": shape,
        "bbox_used_for_cropping": [[0, n] for n in shape],
    }
    return Model(predictor, [network], results), Case(torch.randn(1, *source), None, properties)


def many_slices(workspace: Path, shape: tuple[int, ...]) -> dict[str, Any]:
    """The whole command on a file."""
    import SimpleITK as sitk

    set_environment(workspace.resolve())
    images = workspace / "images"
    images.mkdir(exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 100, shape).astype(np.int16)
    image = sitk.GetImageFromArray(noise)
    image.SetSpacing((0.8, 0.8, 1.0))
    sitk.WriteImage(image, str(images / "ct_0000.nii.gz"))
    folder = untrained(shape)
    words = ["-i", str(images), "-o", str(workspace / "predictions"), "-m", str(folder), "-f", "all"]
    words += ["-device", "cpu", "--disable_progress_bar"]
    program = Path(sys.executable).parent / "nnUNetv2_masam"
    started = time.perf_counter()
    subprocess.run([str(program), "predict", *words], check=True)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9, 2),
    }


def untrained(shape: tuple[int, ...]) -> Path:
    """A model folder of MA-SAM tiny for CT of 1 x 0.8 x 0.8 mm."""
    sys.path.append(str(trainers_folder()))
    from nnUNetTrainerMASAM_tiny import nnUNetTrainerMASAM_tiny

    linear = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [64, 160, 160],
        "median_image_size_in_voxels": [float(n) for n in shape],
        "spacing": [1.0, 0.8, 0.8],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": False,
        "architecture": {"network_class_name": "none", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    for part in ("data", "seg", "probabilities"):
        configuration[f"resampling_fn_{part}"] = "resample_data_or_seg_to_shape"
        configuration[f"resampling_fn_{part}_kwargs"] = {**linear, "is_seg": part == "seg"}
    plans = {
        "dataset_name": "Dataset999_CT",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {"3d_fullres": configuration},
        "continue_training": False,
    }
    labels = {"background": 0, "a": 1, "b": 2}
    description = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    made = nnUNetTrainerMASAM_tiny(plans, "3d_fullres", "all", description, torch.device("cpu"))
    network = made.build_network_architecture(made.plans_manager, made.configuration_manager, 1, len(labels), False)
    content = {
        "network_weights": network.state_dict(),
        "trainer_name": type(made).__name__,
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": made.inference_allowed_mirroring_axes,
    }
    os.makedirs(made.output_folder, exist_ok=True)
    torch.save(content, os.path.join(made.output_folder, "checkpoint_final.pth"))
    folder = Path(made.output_folder_base)
    (folder / "plans.json").write_text(json.dumps(made.plans_manager.plans))
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


if __name__ == "__main__":
    main()
