"""Parameters of every recipe's network by ViT, and what the planner makes of every trainer. Nothing is measured.

    python benchmarks/parameters.py      # a minute; needs MONAI for the foreign networks

Writes ``benchmarks/results/parameters.json`` and the tables in ``docs/models.md``.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from environment import describe_environment
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunetv2_masam.catalogue import class_names, trainers_folder
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning import plan_configuration
from nnunetv2_masam.training.foreign import ForeignTrainer, plan_foreign
from nnunetv2_masam.training.trainer import MASAMTrainer

BENCHMARKS = Path(__file__).resolve().parent
RESULT = BENCHMARKS / "results" / "parameters.json"
PAGE = BENCHMARKS.parent / "docs" / "models.md"

INPUT_CHANNELS, NUM_CLASSES, IMAGE_SIZE = 1, 14, (512, 512)
VITS = ("vit_b", "vit_l", "vit_h")
RECIPES = (
    "nnUNetTrainerMASAM",
    "nnUNetTrainerMASAM_noAdapters",
    "nnUNetTrainerMASAM_noFacT",
    "nnUNetTrainerMASAM_decoder",
    "nnUNetTrainerMASAM_all",
    "nnUNetTrainerMASAM_scratch",
    "nnUNetTrainerSAMed",
)
# an abdominal CT under nnU-Net's default plans
BASELINE: dict[str, Any] = {
    "patch_size": [48, 192, 192],
    "batch_size": 2,
    "spacing": [3.0, 0.76, 0.76],
    "median_image_size_in_voxels": [148.0, 512.0, 512.0],
}
PARTS = (("fact", "FacT"), ("lora", "LoRA"), ("adapter_", "adapters"))


def main() -> None:
    """Count, plan and write."""
    trainers = full_length_trainers()
    recipes = [trainers[name] for name in RECIPES]
    result = {
        "environment": describe_environment(),
        "settings": {
            "input_channels": INPUT_CHANNELS,
            "num_classes": NUM_CLASSES,
            "image_size": IMAGE_SIZE,
            "baseline": BASELINE,
        },
        "parameters": {recipe.__name__: {vit: count(recipe, vit) for vit in VITS} for recipe in recipes},
        "foreign": {name: count_foreign(trainer) for name, trainer in trainers.items() if is_foreign(trainer)},
        "trainers": {name: describe(trainer) for name, trainer in trainers.items()},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    page = PAGE.read_text()
    for name, table in tables(result).items():
        page = replaced(page, name, table)
    PAGE.write_text(page)


def full_length_trainers() -> dict[str, type]:
    """The catalogue's trainers by name, without the short runs for trying things out."""
    folder = trainers_folder()
    sys.path.insert(0, str(folder))
    modules = [importlib.import_module(path.stem) for path in sorted(folder.glob("*.py"))]
    names = [name for name in class_names(folder) if not re.search(r"_\d+epochs?$", name)]
    return {name: next(vars(module)[name] for module in modules if name in vars(module)) for name in names}


def network(trainer: type[MASAMTrainer], vit: Any) -> MASAM:
    """The recipe's network with another ViT, without memory for its weights."""
    arch_kwargs = trainer.rules.arch_kwargs
    channels = INPUT_CHANNELS + (arch_kwargs.get("prompt") == "box")  # the box is a channel
    with torch.device("meta"):
        return MASAM(channels, NUM_CLASSES, vit=vit, image_size=IMAGE_SIZE, **arch_kwargs)


def count(trainer: type[MASAMTrainer], vit: str) -> dict[str, int]:
    """All parameters of the recipe's network, and those that are trained."""
    parameters = list(network(trainer, vit).parameters())
    return {
        "all": sum(p.numel() for p in parameters),
        "trained": sum(p.numel() for p in parameters if p.requires_grad),
    }


def is_foreign(trainer: type) -> bool:
    """Whether it trains another network than MA-SAM's."""
    return issubclass(trainer, ForeignTrainer)


def count_foreign(trainer: type[ForeignTrainer]) -> dict[str, int]:
    """Parameters of a foreign network by dimension, all of them trained."""
    counted = {}
    for dims in ("3d", "2d") if trainer.foreign.two_dimensional else ("3d",):
        patch = BASELINE["patch_size"][0 if dims == "3d" else 1 :]
        planned = plan_foreign(
            {**BASELINE, "patch_size": patch}, trainer.foreign, trainer.arch_kwargs, trainer.largest_patch, None
        )
        built = trainer.build_network_architecture(None, ConfigurationManager(planned), INPUT_CHANNELS, NUM_CLASSES)
        counted[dims] = sum(p.numel() for p in built.parameters())
    return counted


def describe(trainer: type) -> dict[str, Any]:
    """What a trainer is, by its own words, what it trains and what is planned for it."""
    described = {"what": str(trainer.__doc__).splitlines()[0], "pretrained_weights": False, "trained": "everything"}
    if not issubclass(trainer, MASAMTrainer):
        return described
    encoder = dict(network(trainer, trainer.rules.vit).image_encoder.named_parameters())
    trained = [name for name, parameter in encoder.items() if parameter.requires_grad]
    if len(trained) < len(encoder):
        parts = [label for prefix, label in PARTS if any(f".{prefix}" in f".{name}" for name in trained)]
        described["trained"] = ", ".join([*parts, "decoder"])
    planned = plan_configuration(BASELINE, trainer.rules, NUM_CLASSES)
    return {
        **described,
        "pretrained_weights": trainer.needs_pretrained_weights,
        "patch_size": planned["patch_size"],
        "image_size": planned["architecture"]["arch_kwargs"]["image_size"],
        "batch_size": planned["batch_size"],
        "micro_batch_size": planned["micro_batch_size"],
        "gradient_checkpointing": planned["architecture"]["arch_kwargs"].get("gradient_checkpointing", False),
        "predicted_vram_gb": planned["predicted_vram_gb"],
    }


def tables(result: dict[str, Any]) -> dict[str, str]:
    """The page's tables by name."""
    return {"trainers": trainers_table(result), "parameters": parameters_table(result)}


def trainers_table(result: dict[str, Any]) -> str:
    """A row for each trainer."""
    lines = [
        "| `-tr` | what | trained | pretrained weights | effective batch size, micro-batch size "
        "| predicted GPU memory |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["trainers"].items():
        needed = "needed" if row["pretrained_weights"] else "no"
        batch, memory = "2 in 3D", ""
        if "predicted_vram_gb" in row:
            batch = f"{row['batch_size']}, {row['micro_batch_size']}"
            memory = f"{row['predicted_vram_gb']:.1f} GB" + ", checkpointed" * row["gradient_checkpointing"]
        lines.append(f"| `{name}` | {row['what'].rstrip('.')} | {row['trained']} | {needed} | {batch} | {memory} |")
    return "\n".join(lines)


def parameters_table(result: dict[str, Any]) -> str:
    """A row for each recipe, millions of parameters by ViT, and one for each foreign network."""
    lines = [
        "| recipe | ViT-B all | trained | ViT-L all | trained | ViT-H all | trained |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, by_vit in result["parameters"].items():
        numbers = [f"{by_vit[vit][which] / 1e6:.2f}" for vit in VITS for which in ("all", "trained")]
        lines.append(f"| `{name}` | {' | '.join(numbers)} |")
    for name, by_dimension in result["foreign"].items():
        counts = [f"{count / 1e6:.2f} in {dims.upper()}" for dims, count in by_dimension.items()]
        counts += [""] * (2 * len(VITS) - len(counts))
        lines.append(f"| `{name}` (no ViT of SAM's, all trained) | {' | '.join(counts)} |")
    return "\n".join(lines)


def replaced(page: str, name: str, table: str) -> str:
    """``page`` with the lines between the comments of that name replaced by ``table``."""
    before, rest = page.split(f"<!-- {name} -->\n")
    _, after = rest.split(f"<!-- end of {name} -->")
    return f"{before}<!-- {name} -->\n{table}\n<!-- end of {name} -->{after}"


if __name__ == "__main__":
    main()
