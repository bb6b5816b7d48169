"""``nnUNetv2_masam predict`` beside ``nnUNetv2_predict``: agreement and time of the whole command, on real images.

    python benchmarks/predict_models.py --data Dataset004_Hippocampus --ct ct_torso --workspace FOLDER

Models are trained for a few steps, so that they segment something: nnU-Net in 3D, in 2D, with regions and as a cascade,
and MA-SAM tiny on the hippocampus MRI, and nnU-Net on a CT crop with 41 labels. Images and plans have the same spacing
there; the models called "resampled" have the same weights and plans of another spacing, and are also predicted by the
stock command with ``resample_torch_fornnunet``. The commands take turns. What is trained in the workspace is kept.
Writes ``benchmarks/results/predict-models-cpu.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from environment import describe_environment
from workspace import prepare, set_environment

HERE = Path(__file__).resolve().parent
REGIONS = {"background": 0, "whole": [1, 2], "Posterior": [2]}
# model: dataset's number, configuration, trainer
MODELS = {
    "nnU-Net": (4, "3d_fullres", "nnUNetTrainer"),
    "nnU-Net 2D": (4, "2d", "nnUNetTrainer"),
    "MA-SAM tiny": (4, "3d_fullres", "nnUNetTrainerMASAM_tiny"),
    "cascade, first stage": (4, "3d_lowres", "nnUNetTrainer"),
    "cascade": (4, "3d_cascade_fullres", "nnUNetTrainer"),
    "regions": (14, "3d_fullres", "nnUNetTrainer"),
    "CT, 41 labels": (24, "3d_fullres", "nnUNetTrainer"),
}
# model: the one whose weights it has, and what its plans have instead, so that its logits are resampled
RESAMPLED = {
    "nnU-Net, resampled": ("nnU-Net", {"spacing": [1.3, 1.2, 1.1]}),
    "CT, 41 labels, resampled": ("CT, 41 labels", {"spacing": [4.1, 2.4, 2.6]}),
}
BY_TORCH = {
    "resampling_fn_probabilities": "resample_torch_fornnunet",
    "resampling_fn_probabilities_kwargs": {"is_seg": False, "force_separate_z": None},
}


def main() -> None:
    """Run what is missing, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="Dataset004_Hippocampus in nnU-Net's raw layout")
    parser.add_argument("--ct", type=Path, help="folder with example_ct_sm.nii.gz and example_seg.nii.gz")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--cases", type=int, default=32, help="unseen cases to predict")
    parser.add_argument("--repeats", type=int, default=3)
    names = [*MODELS, *RESAMPLED]
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--train", choices=list(MODELS), help="train this model in this process, and end")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "predict-models-cpu.json")
    args = parser.parse_args()
    workspace = args.workspace.resolve()
    set_environment(workspace, workers=1)
    if args.train:
        train(*MODELS[args.train], args.iterations)
        return
    write_datasets(args.data, args.ct, args.cases)
    results = {}
    for model in args.models:
        base, changes = RESAMPLED.get(model, (model, None))
        folder = folder_of(base)
        if not (folder / "fold_all" / "checkpoint_final.pth").is_file():
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--train", base], check=True)
        folders = {"stock": folder, "predict": folder}
        if changes is not None:
            resampled = edited(folder, workspace / "edited" / model, changes)
            by_torch = edited(folder, workspace / "edited" / f"{model}, torch", changes | BY_TORCH)
            folders = {"stock": resampled, "predict": resampled, "stock, torch": by_torch}
        results[model] = compare(model, MODELS[base][0], folders, workspace / "predictions", args.repeats)
        print(json.dumps({model: results[model]}, indent=1), flush=True)
        settings = {"iterations": args.iterations, "cases": args.cases}
        content = {"environment": describe_environment(), "settings": settings, "models": results}
        args.output.write_text(json.dumps(content, indent=1) + "\n")


def folder_of(model: str) -> Path:
    """The model folder."""
    number, configuration, trainer = MODELS[model]
    (dataset,) = Path(os.environ["nnUNet_raw"]).glob(f"Dataset{number:03d}_*")
    return Path(os.environ["nnUNet_results"]) / dataset.name / f"{trainer}__nnUNetPlans__{configuration}"


def write_datasets(data: Path, ct: Path, cases: int) -> None:
    """Copies of the hippocampus, plain and with regions, and the CT crop as a dataset; planned and preprocessed."""
    raw = Path(os.environ["nnUNet_raw"])
    regions = raw.parent / "source" / "Dataset014_HippocampusRegions"
    if not regions.exists():
        shutil.copytree(data, regions)
        description = json.loads((regions / "dataset.json").read_text())
        description |= {"labels": REGIONS, "regions_class_order": [1, 2]}
        (regions / "dataset.json").write_text(json.dumps(description))
    crop = raw.parent / "source" / "Dataset024_CT"
    if not crop.exists():
        for part in ("imagesTr", "imagesTs", "labelsTr"):
            (crop / part).mkdir(parents=True)
        shutil.copy(ct / "example_seg.nii.gz", crop / "labelsTr" / "ct.nii.gz")
        labels = np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(crop / "labelsTr" / "ct.nii.gz")))).astype(int)
        numbered = sitk.ReadImage(str(crop / "labelsTr" / "ct.nii.gz"))
        array = np.searchsorted(labels, sitk.GetArrayFromImage(numbered)).astype(np.uint8)
        consecutive = sitk.GetImageFromArray(array)
        consecutive.CopyInformation(numbered)
        sitk.WriteImage(consecutive, str(crop / "labelsTr" / "ct.nii.gz"))
        for part in ("imagesTr", "imagesTs"):
            shutil.copy(ct / "example_ct_sm.nii.gz", crop / part / "ct_0000.nii.gz")
        names = {"background": 0} | {f"label {value}": value for value in range(1, len(labels))}
        description = {"channel_names": {"0": "CT"}, "labels": names, "numTraining": 1, "file_ending": ".nii.gz"}
        (crop / "dataset.json").write_text(json.dumps(description))
    prepare(data, ("2d", "3d_fullres"))
    for dataset in (regions, crop):
        prepare(dataset)
    for folder in raw.glob("*/imagesTs"):
        for image in sorted(folder.iterdir())[cases:]:
            image.unlink()


def train(number: int, configuration: str, trainer: str, iterations: int) -> None:
    """Train on all cases for a few steps, under the stock trainer's name; a first stage also predicts them."""
    import torch
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    base = recursive_find_trainer_class_by_name(trainer)
    (preprocessed,) = Path(os.environ["nnUNet_preprocessed"]).glob(f"Dataset{number:03d}_*")
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    plans["continue_training"] = False
    configurations = plans["configurations"]
    configurations["3d_lowres"] = {**configurations["3d_fullres"], "next_stage": "3d_cascade_fullres"}
    configurations["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    description = json.loads((preprocessed / "dataset.json").read_text())
    made = base(plans, configuration, "all", description, torch.device("cpu"))
    made.num_epochs, made.num_iterations_per_epoch, made.num_val_iterations_per_epoch = 1, iterations, 1
    os.environ["nnUNet_n_proc_DA"] = "0"
    made.run_training()
    if configuration == "3d_lowres":
        made.perform_actual_validation()


def edited(folder: Path, copy: Path, changes: dict[str, Any]) -> Path:
    """A copy of a model folder of one configuration with other values in it."""
    if not copy.exists():
        shutil.copytree(folder, copy)
        plans = json.loads((copy / "plans.json").read_text())
        plans["configurations"]["3d_fullres"] |= changes
        (copy / "plans.json").write_text(json.dumps(plans))
    return copy


def compare(model: str, number: int, folders: dict[str, Path], predictions: Path, repeats: int) -> dict[str, Any]:
    """The commands in turns: seconds, and how far their segmentations agree with those of stock."""
    (raw,) = Path(os.environ["nnUNet_raw"]).glob(f"Dataset{number:03d}_*")
    shared = ["-i", str(raw / "imagesTs"), "-f", "all", "-device", "cpu", "--disable_progress_bar"]
    if model == "cascade":
        shared += ["-prev_stage_predictions", str(predictions / "cascade, first stage" / "stock")]
    seconds: dict[str, list[float]] = {side: [] for side in folders}
    for _ in range(repeats):
        for side, folder in folders.items():
            output = predictions / model / side
            shutil.rmtree(output, ignore_errors=True)
            started = time.perf_counter()
            program = ["nnUNetv2_masam", "predict"] if side == "predict" else ["nnUNetv2_predict_from_modelfolder"]
            command = [str(Path(sys.executable).parent / program[0]), *program[1:], *shared]
            command += ["-m", str(folder), "-o", str(output)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[side].append(round(time.perf_counter() - started, 1))
    medians = {side: statistics.median(runs) for side, runs in seconds.items()}
    return {
        "seconds": seconds,
        "median_seconds": medians,
        "times_as_fast_as_stock": round(medians["stock"] / medians["predict"], 2),
        "agreement_with_stock": {
            side: agreement(predictions / model / "stock", predictions / model / side) for side in [*folders][1:]
        },
    }


def agreement(theirs: Path, ours: Path) -> dict[str, Any]:
    """Voxels with equal labels over all cases, and the lowest Dice of a label in a case."""
    files = sorted(theirs.glob("*.nii.gz"))
    assert [path.name for path in files] == [path.name for path in sorted(ours.glob("*.nii.gz"))]
    equal, voxels, dice, found = 0, 0, [], set()
    for path in files:
        a, b = (sitk.GetArrayFromImage(sitk.ReadImage(str(folder / path.name))) for folder in (theirs, ours))
        equal, voxels = equal + int((a == b).sum()), voxels + a.size
        labels = np.union1d(a, b)[1:]
        found |= set(labels.tolist())
        dice += [2 * ((a == k) & (b == k)).sum() / ((a == k).sum() + (b == k).sum()) for k in labels]
    return {
        "cases": len(files),
        "labels": len(found),
        "equal_voxels": equal / voxels,
        "different_voxels": voxels - equal,
        "lowest_dice": float(min(dice, default=1.0)),
    }


if __name__ == "__main__":
    main()
