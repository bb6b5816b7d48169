"""Core-seconds that nnU-Net's augmentation takes for a sample, by transform, for datasets of every kind.

    python benchmarks/augmentation.py --draws 60

For each fingerprint in ``benchmarks/fingerprints`` a synthetic patch with as many channels and labels goes through the
training transforms of ``nnUNetTrainerMASAM`` and of ``nnUNetTrainer``, at the patch size of each, on one core. Writes
``benchmarks/results/augmentation-cpu.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from environment import describe_environment
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from scipy.ndimage import gaussian_filter

from nnunetv2_masam.planning import PlanningRules, plan_configuration
from nnunetv2_masam.training.plans import training_configuration
from nnunetv2_masam.training.trainer import MASAMTrainer

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "results" / "augmentation-cpu.json"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=60, help="samples that each pipeline augments (default: 60)")
    parser.add_argument("--datasets", nargs="+", help="names of fingerprints (default: all)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"file to write (default: {OUTPUT.name})")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    plans = json.loads((HERE / "results" / "baseline-plans.json").read_text("utf-8"))["plans"]
    result: dict[str, Any] = {"environment": describe_environment(), "draws": args.draws, "samples": {}}
    for name in args.datasets or sorted(plans):
        content = plans[name]["configurations"]
        configuration = "3d_fullres" if "3d_fullres" in content else "2d"
        labels = json.loads((HERE / "fingerprints" / f"{name}.json").read_text("utf-8"))["dataset_json"]["labels"]
        result["samples"][name] = {
            trainer.__name__: measure(trainer, content[configuration], configuration, len(labels), args.draws)
            for trainer in (nnUNetTrainer, MASAMTrainer)
        }
        for trainer, entry in result["samples"][name].items():
            print(f"{name:24} {trainer:14} {entry['patch']!s:18} {entry['core_seconds']:.3f} s", flush=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure(
    trainer_class: type[nnUNetTrainer], baseline: dict[str, Any], configuration: str, num_classes: int, draws: int
) -> dict[str, Any]:
    """Mean core-seconds per sample, in all and by transform, after one warm-up of every transform."""
    planned = {**baseline, "architecture": {}}  # nnU-Net takes plans without one for those of an old version
    if trainer_class is MASAMTrainer:
        planned = plan_configuration(planned, PlanningRules(), num_classes, vram_gb=80.0)
    manager = ConfigurationManager(planned)
    if trainer_class is MASAMTrainer:
        manager = training_configuration(manager)
    trainer = object.__new__(trainer_class)  # its augmentation needs the patch size and nothing else
    trainer.configuration_manager = manager
    trainer.print_to_log_file = lambda *_, **__: None
    rotation, dummy_2d, initial_patch, mirror_axes = (
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    )
    transforms = trainer.get_training_transforms(manager.patch_size, rotation, None, mirror_axes, dummy_2d)
    image, segmentation = synthetic(len(planned["normalization_schemes"]), initial_patch, num_classes)
    blur = next(
        t.transform for t in transforms.transforms if isinstance(getattr(t, "transform", None), GaussianBlurTransform)
    )
    for _ in range(20):  # nnU-Net's blur times two algorithms whenever it meets a new length of kernel
        blur(image=torch.randn(len(image), *manager.patch_size))
    spent: dict[str, float] = defaultdict(float)
    totals = []
    np.random.seed(0)
    torch.manual_seed(0)
    for _ in range(draws):
        sample = {"image": image.clone(), "segmentation": segmentation.clone()}
        started = time.process_time()
        for transform in transforms.transforms:
            before = time.process_time()
            sample = transform(**sample)
            named = getattr(transform, "transform", transform)
            spent[type(named).__name__] += time.process_time() - before
        totals.append(time.process_time() - started)
    return {
        "patch": list(map(int, manager.patch_size)),
        "initial_patch": list(map(int, initial_patch)),
        "channels": len(planned["normalization_schemes"]),
        "labels": num_classes,
        "core_seconds": round(statistics.fmean(totals), 4),
        "core_seconds_by_transform": {name: round(s / draws, 4) for name, s in spent.items() if s / draws >= 5e-5},
        "samples_a_step": planned.get("batch_size"),
    }


def synthetic(channels: int, shape: Any, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth image (C, …) and labels (1, …) in blobs, most of them background."""
    rng = np.random.default_rng(0)
    shape = tuple(map(int, shape))
    smooth = gaussian_filter(rng.standard_normal(shape), [2.0] + [12.0] * (len(shape) - 1))
    levels = np.quantile(smooth, np.linspace(0.6, 1.0, num_classes + 1)[:-1])
    segmentation = np.digitize(smooth, levels[1:]).astype(np.int16)
    image = np.stack([smooth / smooth.std() + 0.1 * rng.standard_normal(shape) for _ in range(channels)])
    return torch.from_numpy(image).float(), torch.from_numpy(segmentation)[None]


if __name__ == "__main__":
    main()
