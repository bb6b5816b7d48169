"""A five-fold cross-validation of three models on hippocampus MRI, on a CPU, and its comparison.

    python benchmarks/crossval_hippocampus.py --data Dataset004_Hippocampus --workspace FOLDER

``--data`` is the dataset in nnU-Net's raw layout with ``imagesTs`` and ``labelsTs``. Each model trains for a fixed
number of steps, which take two idle cores about five and a half minutes; a busier machine takes longer and computes the
same. The same command resumes an interrupted run, and ``--report`` only writes the tables of what is finished. Tables,
``summary.json`` and pictures go to ``benchmarks/results/crossval-hippocampus``. On an idle machine, ``--time`` measures
what a step takes and writes the minutes of a training to ``minutes.json`` there.

nnU-Net plans ResEnc-M with batches that cover the whole dataset, 23 patches here, which leave it a handful of steps in
this time; it trains with the default plans' batch size of 2 instead, on plans of another name.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from environment import describe_environment
from workspace import CONFIGURATION, call, prepare, set_environment

from nnunetv2_masam.catalogue import trainers_folder
from nnunetv2_masam.files import list_folder, read_json, read_text, write_json, write_text

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "results" / "crossval-hippocampus"
RESENC_PLANS = "nnUNetResEncUNetMPlans_batch2"
MODELS = {
    "nnU-Net": ("nnUNetTrainer_260iterations", "nnUNetPlans"),
    "MA-SAM tiny": ("nnUNetTrainerMASAM_tiny_1050steps", "nnUNetPlans"),
    "nnU-Net ResEnc-M": ("nnUNetTrainer_175iterations", RESENC_PLANS),
}
FOLDS = range(5)
TIMED_STEPS = 8  # after two more


def main() -> None:
    """Train what is missing and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--report", action="store_true", help="only write the tables of the finished folds")
    parser.add_argument("--time", action="store_true", help="only measure steps; needs the plans of an earlier run")
    args = parser.parse_args()
    dataset, number = args.data.name, args.data.name[7:10]
    set_environment(args.workspace.resolve(), workers=1)
    if args.time:
        write_json(OUTPUT / "minutes.json", {"environment": describe_environment(), "models": time_steps(number)})
        return
    if not args.report:
        prepare(args.data)
        plan_resenc(dataset, number)
        for plans in dict.fromkeys(plans for _, plans in MODELS.values()):
            trainers = [trainer for trainer, its_plans in MODELS.values() if its_plans == plans]
            masam("crossval", "-d", number, "-c", CONFIGURATION, "-tr", *trainers, "-p", plans, "--device", "cpu",
                  "-o", str(args.workspace / "crossval" / plans))  # fmt: skip
    report(args.workspace.resolve(), dataset, number)


def plan_resenc(dataset: str, number: str) -> None:
    """Plans of ResEnc-M with the batch size of the default plans."""
    preprocessed = Path(os.environ["nnUNet_preprocessed"]) / dataset
    if not (preprocessed / "nnUNetResEncUNetMPlans.json").is_file():
        call("nnUNetv2_plan_experiment", "-d", number, "-pl", "nnUNetPlannerResEncM")
    plans = read_json(preprocessed / "nnUNetResEncUNetMPlans.json")
    default = read_json(preprocessed / "nnUNetPlans.json")
    plans["plans_name"] = RESENC_PLANS
    plans["configurations"][CONFIGURATION]["batch_size"] = default["configurations"][CONFIGURATION]["batch_size"]
    write_json(preprocessed / f"{RESENC_PLANS}.json", plans)


def time_steps(number: str) -> dict[str, dict[str, float]]:
    """Seconds of a training step of each model, without its data, and minutes of all steps of a training."""
    os.environ["nnUNet_n_proc_DA"] = "0"
    sys.path.insert(0, str(trainers_folder()))
    from nnunetv2.run.run_training import get_trainer_from_args

    found = {}
    for name, (trainer_name, plans) in MODELS.items():
        trainer = get_trainer_from_args(number, CONFIGURATION, "all", trainer_name, plans, device=torch.device("cpu"))
        trainer.on_train_start()
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        seconds = []
        for _ in range(2 + TIMED_STEPS):
            batch = next(trainer.dataloader_train)
            started = time.perf_counter()
            trainer.train_step(batch)
            seconds.append(time.perf_counter() - started)
        of_a_step = statistics.median(seconds[2:])
        steps = trainer.num_epochs * trainer.num_iterations_per_epoch
        found[name] = {
            "steps": steps,
            "seconds_of_a_step": round(of_a_step, 3),
            "minutes": round(steps * of_a_step / 60, 1),
        }
        print(name, found[name], flush=True)
    return found


def report(workspace: Path, dataset: str, number: str) -> None:
    """Compare the validation cases of the folds that all models have finished, then the unseen cases.

    A model that has finished no fold is left out.
    """
    results = workspace / "results" / dataset
    folders = {name: results / f"{trainer}__{plans}__{CONFIGURATION}" for name, (trainer, plans) in MODELS.items()}
    folders = {name: folder for name, folder in folders.items() if any(is_finished(folder, fold) for fold in FOLDS)}
    finished = [str(fold) for fold in FOLDS if all(is_finished(folder, fold) for folder in folders.values())]
    if not folders or not finished:
        sys.exit("no fold is finished by all models yet")
    models = [f"{name}={folder.name}" for name, folder in folders.items()]
    validation, unseen = workspace / "comparison" / "validation", workspace / "comparison" / "unseen"
    masam("compare", *models, "-d", number, "--folds", *finished, "-np", "1", "-o", str(validation))
    raw = workspace / "raw" / dataset
    predictions = [f"{name}={predict(workspace, raw, number, name, finished)}" for name in folders]
    masam("compare", "--predictions", *predictions, "--references", str(raw / "labelsTs"), "--dataset-json",
          str(raw / "dataset.json"), "--images", str(raw / "imagesTs"), "-np", "1", "-o", str(unseen))  # fmt: skip
    for source in (validation, unseen):
        target = OUTPUT / source.name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in source.iterdir():  # without the workspace's place on this machine
            write_text(target / path.name, read_text(path).replace(f"{workspace}/", ""))
    settings = {name: {"trainer": MODELS[name][0], "plans": MODELS[name][1]} for name in folders}
    about = {"environment": describe_environment(), "dataset": dataset, "folds": finished, "models": settings}
    write_json(OUTPUT / "settings.json", about)


def is_finished(folder: Path, fold: int) -> bool:
    """Whether the fold is trained and validated."""
    return (folder / f"fold_{fold}" / "validation" / "summary.json").is_file()


def predict(workspace: Path, raw: Path, number: str, name: str, folds: list[str]) -> Path:
    """Predict the unseen cases with the ensemble of the finished folds, unless it is done."""
    trainer, plans = MODELS[name]
    folder = workspace / "predictions" / f"{trainer}__{len(folds)}folds"
    if not folder.is_dir() or len(list(folder.glob("*.nii.gz"))) < len(list_folder(raw / "imagesTs")):
        call("nnUNetv2_predict", "-i", str(raw / "imagesTs"), "-o", str(folder), "-d", number, "-c", CONFIGURATION,
             "-tr", trainer, "-p", plans, "-f", *folds, "-device", "cpu", "-npp", "1", "-nps", "1")  # fmt: skip
    return folder


def masam(*arguments: str) -> None:
    """Run a subcommand of ``nnUNetv2_masam`` from this checkout."""
    subprocess.run([sys.executable, "-m", "nnunetv2_masam.cli", *arguments], check=True)


if __name__ == "__main__":
    main()
