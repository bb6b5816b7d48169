"""MA-SAM tiny and nnU-Net on the hippocampus MRI of the Medical Segmentation Decathlon, on a CPU.

    python benchmarks/hippocampus.py --data Dataset004_Hippocampus --workspace FOLDER

``--data`` is the dataset in nnU-Net's raw layout with ``imagesTs`` and ``labelsTs``; both models train on fold 0 and
predict the cases of ``imagesTs``, which neither has seen. Steps whose results are in the workspace already are skipped.
Writes ``benchmarks/results/hippocampus.json``.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

from environment import describe_environment
from workspace import CONFIGURATION, call, prepare, set_environment

HERE = Path(__file__).resolve().parent
MODELS = {"MA-SAM tiny": "nnUNetTrainerMASAM_tiny", "nnU-Net": "nnUNetTrainer_600iterations"}


def main() -> None:
    """Run what is missing and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    args = parser.parse_args()
    workspace = args.workspace.resolve()
    set_environment(workspace)
    dataset, number = prepare(args.data)
    result = {"environment": describe_environment(), "data": dataset, "fold": 0, "models": {}}
    for model, trainer in MODELS.items():
        result["models"][model] = measure(workspace, dataset, number, trainer)
        print(json.dumps({model: result["models"][model]}, indent=1))
    (HERE / "results" / "hippocampus.json").write_text(json.dumps(result, indent=1) + "\n")


def measure(workspace: Path, dataset: str, number: str, trainer: str) -> dict[str, object]:
    """Train and predict what is missing; Dice over the unseen cases, times from nnU-Net's log and from the clock."""
    folder = workspace / "results" / dataset / f"{trainer}__nnUNetPlans__{CONFIGURATION}"
    fold = folder / "fold_0"
    if not (fold / "validation" / "summary.json").is_file():
        call("nnUNetv2_train", number, CONFIGURATION, "0", "-tr", trainer, "-device", "cpu")
    raw, predictions = workspace / "raw" / dataset, workspace / "predictions" / trainer
    timing = predictions / "seconds.json"
    if not timing.is_file():
        started = time.time()
        call("nnUNetv2_predict", "-i", str(raw / "imagesTs"), "-o", str(predictions), "-d", number, "-c", CONFIGURATION,
             "-f", "0", "-tr", trainer, "-device", "cpu", "-npp", "1", "-nps", "1")  # fmt: skip
        timing.write_text(json.dumps(time.time() - started))
    call("nnUNetv2_evaluate_folder", str(raw / "labelsTs"), str(predictions), "-djfile", str(folder / "dataset.json"),
         "-pfile", str(folder / "plans.json"), "-np", "2")  # fmt: skip
    summary = json.loads((predictions / "summary.json").read_text())
    validation = json.loads((fold / "validation" / "summary.json").read_text())
    log = "".join(file.read_text() for file in fold.glob("training_log_*.txt"))
    epochs = [float(seconds) for seconds in re.findall(r"Epoch time: ([\d.]+) s", log)]
    return {
        "trainer": trainer,
        "epochs": len(epochs),
        "training_minutes": round(sum(epochs) / 60, 1),
        "unseen_cases": len(summary["metric_per_case"]),
        "unseen_dice": round(summary["foreground_mean"]["Dice"], 4),
        "unseen_dice_per_label": {label: round(v["Dice"], 4) for label, v in summary["mean"].items()},
        "validation_cases": len(validation["metric_per_case"]),
        "validation_dice": round(validation["foreground_mean"]["Dice"], 4),
        "prediction_seconds_per_case": round(json.loads(timing.read_text()) / len(summary["metric_per_case"]), 1),
    }


if __name__ == "__main__":
    main()
