"""``make demo``: a synthetic dataset through stock nnU-Net commands, with a small MA-SAM and with nnU-Net's U-Net.

Everything is written below one folder (default ``demo-output``). Steps whose results are there already are skipped, so
an interrupted demonstration goes on where it stopped; ``--fresh`` starts from nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk
from phantom import LABELS, write_dataset

from nnunetv2_masam.catalogue import trainers_folder

DATASET_ID, DATASET = "900", "Dataset900_Phantom"
CONFIGURATION, FOLD = "3d_fullres", "0"
MODELS = {
    "nnU-Net": "nnUNetTrainerDemoBaseline",
    "MA-SAM": "nnUNetTrainerMASAM_tiny_5epochs",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier demonstration left")
    parser.add_argument("--only", choices=list(MODELS), help="one of the two models")
    args = parser.parse_args(argv)
    demo = Demo(args.output.resolve())
    if args.fresh:
        shutil.rmtree(demo.output, ignore_errors=True)
    return demo.run([args.only] if args.only else list(MODELS))


class Demo:
    """The steps, and where each leaves its result.

    Attributes:
        output: folder that everything is written below.
        raw: the dataset in nnU-Net's raw layout.
        environment: environment of the nnU-Net commands.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.raw = output / "raw" / DATASET
        self.minutes_file = output / "minutes.json"
        folders = {f"nnUNet_{name}": str(output / name) for name in ("raw", "preprocessed", "results")}
        trainers = [str(Path(__file__).resolve().parent / "trainers"), str(trainers_folder())]
        self.environment = {
            **os.environ,
            **folders,
            "nnUNet_extTrainer": os.pathsep.join(trainers),
            "nnUNet_n_proc_DA": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, models: Sequence[str]) -> int:
        started = time.time()
        print(
            f"This draws 24 synthetic MR volumes, trains {' and '.join(models)} on 20 of them on the CPU, predicts the "
            f"other 4, compares, and leaves a picture and a report in {self.output}.",
            flush=True,
        )
        self.write_data()
        self.plan()
        for model in models:
            self.train(model)
            self.predict(model)
        self.compare(models)
        picture = self.picture(models)
        _headline(f"Done, in {(time.time() - started) / 60:.1f} minutes")
        for model, minutes in self.minutes().items():
            print(f"{model}: trained for {minutes:.1f} minutes")
        print("This shows that everything runs, not which model is better: 60 iterations are far too few for a U-Net.")
        print(f"Picture: {picture}\nReport: {self.output / 'comparison' / 'report.html'}")
        print(f"Everything the demonstration wrote: {self.output}")
        return 0

    # ---- steps

    def write_data(self) -> None:
        _headline("1. Synthetic abdominal MR data: 20 cases for training, 4 unseen")
        if (self.raw / "dataset.json").is_file():
            print(f"there already: {self.raw}")
            return
        write_dataset(self.raw, cases=20, test_cases=4, seed=0)

    def plan(self) -> None:
        _headline("2. Plan and preprocess")
        preprocessed = self.output / "preprocessed" / DATASET
        if len(list((preprocessed / f"nnUNetPlans_{CONFIGURATION}").glob("*.pkl"))) == 20:
            print(f"there already: {preprocessed}")
            return
        self.call("nnUNetv2_plan_and_preprocess", "-d", DATASET_ID, "-c", CONFIGURATION, "-np", "2",
                  "-npfp", "2", "--verify_dataset_integrity")  # fmt: skip

    def train(self, model: str) -> None:
        _headline(f"3. Train {model} ({MODELS[model]})")
        if (self.model_folder(model) / f"fold_{FOLD}" / "validation" / "summary.json").is_file():
            print(f"there already: {self.model_folder(model)}")
            return
        started = time.time()
        self.call("nnUNetv2_train", DATASET_ID, CONFIGURATION, FOLD, "-tr", MODELS[model], "-device", "cpu")
        minutes = {**self.minutes(), model: (time.time() - started) / 60}
        self.minutes_file.write_text(json.dumps(minutes, indent=2) + "\n")

    def predict(self, model: str) -> None:
        _headline(f"4. {model} on the unseen cases")
        predictions = self.predictions(model)
        if len(list(predictions.glob("*.nii.gz"))) == len(list((self.raw / "imagesTs").glob("*.nii.gz"))):
            print(f"there already: {predictions}")
            return
        self.call("nnUNetv2_predict", "-i", str(self.raw / "imagesTs"), "-o", str(predictions), "-d", DATASET_ID,
                  "-c", CONFIGURATION, "-f", FOLD, "-tr", MODELS[model], "-device", "cpu", "-npp", "1", "-nps", "1",
                  "--disable_progress_bar")  # fmt: skip

    def call(self, command: str, *arguments: str) -> None:
        """Run a command of this environment, its output as it comes; a failure ends the demonstration."""
        print(f"$ {shlex.join([command, *arguments])}", flush=True)
        path = shutil.which(command, path=str(Path(sys.executable).parent)) or command
        code = subprocess.run([path, *arguments], env=self.environment, check=False).returncode
        if code:
            sys.exit(f"{command} failed with exit code {code}; see above. `make demo` goes on from this step.")

    # ---- results

    def model_folder(self, model: str) -> Path:
        return self.output / "results" / DATASET / f"{MODELS[model]}__nnUNetPlans__{CONFIGURATION}"

    def predictions(self, model: str) -> Path:
        return self.output / "predictions" / MODELS[model]

    def minutes(self) -> dict[str, float]:
        return json.loads(self.minutes_file.read_text()) if self.minutes_file.is_file() else {}

    def compare(self, models: Sequence[str]) -> None:
        """Table, statistics and HTML report of both models on the unseen cases."""
        _headline("5. Compare on the unseen cases")
        predictions = [f"{model}={self.predictions(model)}" for model in models]
        self.call("nnUNetv2_masam", "compare", "--predictions", *predictions,
                  "--references", str(self.raw / "labelsTs"), "--dataset-json", str(self.raw / "dataset.json"),
                  "--images", str(self.raw / "imagesTs"), "-np", "1", "-o",
                  str(self.output / "comparison"))  # fmt: skip

    def picture(self, models: Sequence[str]) -> Path:
        """Each unseen case: image, reference, predictions, in the slice that shows most of the kidneys."""
        references = sorted((self.raw / "labelsTs").glob("*.nii.gz"))
        figure, axes = plt.subplots(
            len(references), 2 + len(models), figsize=(3 * (2 + len(models)), 3 * len(references)), squeeze=False
        )
        for row, path in zip(axes, references, strict=True):
            case = path.name.removesuffix(".nii.gz")
            image = _read(self.raw / "imagesTs" / f"{case}_0000.nii.gz")
            reference = _read(path)
            z = int(np.argmax((reference == LABELS["kidneys"]).sum(axis=(1, 2))))
            columns = {"image": None, "reference": reference}
            columns |= {model: _read(self.predictions(model) / path.name) for model in models}
            for axis, (title, labels) in zip(row, columns.items(), strict=True):
                axis.imshow(image[z], cmap="gray")
                if labels is not None:
                    shown = np.ma.masked_equal(labels[z], 0)
                    axis.imshow(shown, cmap="brg", vmin=1, vmax=3, alpha=0.5, interpolation="nearest")
                axis.set_title(title, fontsize=9)
                axis.axis("off")
            row[0].set_title(f"{case}, slice {z}", fontsize=9)
        figure.tight_layout()
        target = self.output / "comparison.png"
        figure.savefig(target, dpi=80)
        plt.close(figure)
        return target


def _read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def _headline(text: str) -> None:
    print(f"\n===== {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
