"""One epoch of a trainer on synthetic data by stock nnU-Net commands, in a folder that is removed at the end.

    python benchmarks/short_training.py --device cuda

Prints one line of JSON: the seconds of the epoch, of the validation, and of everything.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nnunetv2_masam.catalogue import trainers_folder

PHANTOM = Path(__file__).resolve().parents[1] / "demo" / "phantom.py"
DATASET = "Dataset900_Phantom"


def main() -> None:
    """Write the data, plan, train and validate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--trainer", default="nnUNetTrainerMASAM_tiny_1epoch")
    args = parser.parse_args()
    started = time.time()
    with tempfile.TemporaryDirectory() as folder:
        variables = {f"nnUNet_{name}": f"{folder}/{name}" for name in ("raw", "preprocessed", "results")}
        environment = {**os.environ, **variables, "nnUNet_extTrainer": str(trainers_folder())}

        def call(*command: str) -> None:
            subprocess.run(command, env=environment, check=True, stdout=sys.stderr)

        call(sys.executable, str(PHANTOM), f"{folder}/raw/{DATASET}", "--cases", "6", "--test-cases", "1")
        commands = Path(sys.executable).parent
        call(str(commands / "nnUNetv2_plan_and_preprocess"), "-d", "900", "-c", "3d_fullres", "-np", "2", "-npfp", "2")
        call(str(commands / "nnUNetv2_train"), "900", "3d_fullres", "0", "-tr", args.trainer, "-device", args.device)
        model = Path(folder) / "results" / DATASET / f"{args.trainer}__nnUNetPlans__3d_fullres" / "fold_0"
        log = "".join(path.read_text("utf-8") for path in model.glob("training_log_*.txt"))
        summary = json.loads((model / "validation" / "summary.json").read_text("utf-8"))
    epochs = [float(seconds) for seconds in re.findall(r"Epoch time: ([\d.]+) s", log)]
    result = {"trainer": args.trainer, "epoch_s": epochs, "validation_cases": len(summary["metric_per_case"])}
    print(json.dumps(result | {"all_s": round(time.time() - started, 1)}))


if __name__ == "__main__":
    main()
