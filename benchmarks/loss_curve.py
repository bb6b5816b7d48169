"""Loss and pseudo Dice of a healthy training: MA-SAM tiny on the hippocampus MRI, on a CPU.

    python benchmarks/loss_curve.py --data Dataset004_Hippocampus --workspace FOLDER

Trains fold 0 by the stock commands, unless the workspace has it already (that of ``benchmarks/hippocampus.py`` will
do), and writes what nnU-Net logged, one value an epoch, to ``benchmarks/results/loss-curve-hippocampus.json``. Of a
training that was stopped, it writes the epochs of the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from environment import describe_environment
from workspace import CONFIGURATION, call, prepare, set_environment

from nnunetv2_masam.catalogue import find_trainer

HERE = Path(__file__).resolve().parent
TRAINER = "nnUNetTrainerMASAM_tiny"
SERIES = {"train_losses": "training_loss", "val_losses": "validation_loss", "mean_fg_dice": "pseudo_dice"}


def main() -> None:
    """Train if need be, and write the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    args = parser.parse_args()
    workspace = args.workspace.resolve()
    set_environment(workspace)
    dataset, number = prepare(args.data)
    fold = workspace / "results" / dataset / f"{TRAINER}__nnUNetPlans__{CONFIGURATION}" / "fold_0"
    if not any(fold.glob("checkpoint_*.pth")):
        call("nnUNetv2_train", number, CONFIGURATION, "0", "-tr", TRAINER, "-device", "cpu")
    kinds = [fold / f"checkpoint_{kind}.pth" for kind in ("final", "latest", "best")]
    checkpoint = torch.load(next(filter(Path.is_file, kinds)), map_location="cpu", weights_only=False)
    epochs = checkpoint["current_epoch"]
    logged = checkpoint["logging"]
    curves = {name: [round(float(value), 4) for value in logged[key][:epochs]] for key, name in SERIES.items()}
    result = {"environment": describe_environment(), "data": dataset, "fold": 0, "trainer": TRAINER, "epochs": epochs}
    result |= {"epochs_of_trainer": find_trainer(TRAINER).epochs, **curves}
    path = HERE / "results" / "loss-curve-hippocampus.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
