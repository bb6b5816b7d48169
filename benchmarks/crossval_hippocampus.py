"""A five-fold cross-validation of three models on hippocampus MRI, on a CPU, and its comparison.

    python benchmarks/crossval_hippocampus.py --data Dataset004_Hippocampus --workspace FOLDER

``--data`` is the dataset in nnU-Net's raw layout with ``imagesTs`` and ``labelsTs``. Each model trains for a fixed
number of steps, which take two idle cores four to six minutes; a busier machine takes longer and computes the
same. The same command resumes an interrupted run, and ``--report`` only writes the tables of what is finished. Tables,
``summary.json`` and pictures go to ``benchmarks/results/crossval-hippocampus``. On an idle machine, ``--time`` measures
what a step takes and writes the minutes of a training to ``minutes.json`` there.

``--only MODEL`` trains one model and compares it with the values of the others in ``cases.csv`` there, so that a
further model does not need the others trained again.

``--again FOLD``, with a new workspace, trains nnU-Net in 3D on one fold once more and puts the values of its validation
cases in the place of the earlier ones; ``again.json`` has both means. The committed tables have fold 3 from such a
training, because the first one was interrupted and continued. The ensemble of the unseen cases is of the first ones.

nnU-Net's ResEnc-M is not among the models: in this time it takes 175 iterations of two patches, after which it predicts
background only.
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

import pandas as pd
import torch
from environment import describe_environment
from workspace import call, prepare, set_environment

from nnunetv2_masam.catalogue import trainers_folder
from nnunetv2_masam.files import list_folder, read_text, write_json, write_text

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "results" / "crossval-hippocampus"
PLANS = "nnUNetPlans"
MODELS = {  # trainer, configuration
    "nnU-Net": ("nnUNetTrainer_260iterations", "3d_fullres"),
    "MA-SAM tiny": ("nnUNetTrainerMASAM_tiny_1050steps", "3d_fullres"),
    "nnU-Net 2D": ("nnUNetTrainer_500iterations", "2d"),
}
FOLDS = range(5)
TIMED_STEPS = 8  # after two more


def main() -> None:
    """Train what is missing and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--report", action="store_true", help="only write the tables of the finished folds")
    parser.add_argument("--only", choices=MODELS, metavar="MODEL", help="train this one, and take the others' values")
    parser.add_argument("--again", type=int, choices=FOLDS, metavar="FOLD", help="train this fold of nnU-Net once more")
    parser.add_argument("--time", action="store_true", help="only measure steps; needs the plans of an earlier run")
    args = parser.parse_args()
    dataset, number = args.data.name, args.data.name[7:10]
    set_environment(args.workspace.resolve(), workers=1)
    if args.time:
        write_json(OUTPUT / "minutes.json", {"environment": describe_environment(), "models": time_steps(number)})
        return
    if args.again is not None:
        prepare(args.data)
        train_again(args.workspace.resolve(), number, args.again)
        return
    if not args.report:
        prepare(args.data, ("3d_fullres", "2d"))
        wanted = [MODELS[args.only]] if args.only else list(MODELS.values())
        for configuration in dict.fromkeys(configuration for _, configuration in wanted):
            trainers = [trainer for trainer, its_own in wanted if its_own == configuration]
            masam("crossval", "-d", number, "-c", configuration, "-tr", *trainers, "-p", PLANS, "--device", "cpu",
                  "-o", str(args.workspace / "crossval" / configuration))  # fmt: skip
    report(args.workspace.resolve(), dataset, number, args.only)


def time_steps(number: str) -> dict[str, dict[str, float]]:
    """Seconds of a training step of each model, without its data, and minutes of all steps of a training."""
    os.environ["nnUNet_n_proc_DA"] = "0"
    sys.path.insert(0, str(trainers_folder()))
    from nnunetv2.run.run_training import get_trainer_from_args

    found = {}
    for name, (trainer_name, configuration) in MODELS.items():
        trainer = get_trainer_from_args(number, configuration, "all", trainer_name, PLANS, device=torch.device("cpu"))
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


def train_again(workspace: Path, number: str, fold: int) -> None:
    """Train one fold of nnU-Net in 3D, and compare anew with the values of its validation cases."""
    name = "nnU-Net"
    trainer, configuration = MODELS[name]
    call("nnUNetv2_train", number, configuration, str(fold), "-tr", trainer, "-p", PLANS, "-device", "cpu")
    once, merged = workspace / "comparison" / "again", workspace / "comparison" / "merged"
    masam("compare", f"{name}={trainer}__{PLANS}__{configuration}", "-d", number, "--folds", str(fold), "-np", "1",
          "-o", str(once))  # fmt: skip
    table = OUTPUT / "validation" / "cases.csv"
    earlier, new = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (table, once / "cases.csv"))
    replaced = (earlier["model"] == name) & (earlier["fold"] == str(fold))
    means = [round(float(rows["Dice"].astype(float).mean()), 3) for rows in (earlier[replaced], new)]
    pd.concat([earlier[~replaced], new]).to_csv(workspace / "cases.csv", index=False)
    models = [f"{model}={workspace / 'cases.csv'}" for model in MODELS if (earlier["model"] == model).any()]
    masam("compare", *models, "-d", number, "--folds", *map(str, FOLDS), "-np", "1", "-o", str(merged))
    publish(merged, OUTPUT / "validation", workspace)
    about = {"model": name, "fold": fold, "mean_dice_before": means[0], "mean_dice": means[1]}
    write_json(OUTPUT / "again.json", {"environment": describe_environment(), **about})


def report(workspace: Path, dataset: str, number: str, only: str | None) -> None:
    """Compare the validation cases of the folds that all models have finished, then the unseen cases.

    A model that has finished no fold is left out; with ``only``, the values of the others are the committed ones.
    """
    results = workspace / "results" / dataset
    folders = {
        name: results / f"{trainer}__{PLANS}__{configuration}"
        for name, (trainer, configuration) in MODELS.items()
        if only in (None, name)
    }
    folders = {name: folder for name, folder in folders.items() if any(is_finished(folder, fold) for fold in FOLDS)}
    finished = [str(fold) for fold in FOLDS if all(is_finished(folder, fold) for folder in folders.values())]
    if not folders or not finished:
        sys.exit("no fold is finished by all models yet")
    validation, unseen = workspace / "comparison" / "validation", workspace / "comparison" / "unseen"
    models = earlier_values("validation", only) + [f"{name}={folder.name}" for name, folder in folders.items()]
    masam("compare", *models, "-d", number, "--folds", *finished, "-np", "1", "-o", str(validation))
    raw = workspace / "raw" / dataset
    predictions = [f"{name}={predict(workspace, raw, number, name, finished)}" for name in folders]
    masam("compare", "--predictions", *earlier_values("unseen", only), *predictions,
          "--references", str(raw / "labelsTs"), "--dataset-json", str(raw / "dataset.json"),
          "--images", str(raw / "imagesTs"), "-np", "1", "-o", str(unseen))  # fmt: skip
    for source in (validation, unseen):
        publish(source, OUTPUT / source.name, workspace)
    settings = {name: {"trainer": MODELS[name][0], "configuration": MODELS[name][1]} for name in folders}
    about = {"environment": describe_environment(), "dataset": dataset, "folds": finished, "models": settings}
    write_json(OUTPUT / "settings.json", about)


def publish(source: Path, target: Path, workspace: Path) -> None:
    """Replace a folder of the results by a comparison, without the places of workspace and results on this machine."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in source.iterdir():
        text = read_text(path).replace(f"{workspace}/", "").replace(f"{HERE.parent}/", "")
        write_text(target / path.name, text)


def earlier_values(cases: str, only: str | None) -> list[str]:
    """The committed values of the other models, as ``compare`` takes them, in the order of the models."""
    if only is None:
        return []
    table = OUTPUT / cases / "cases.csv"
    known = {line.split(",")[0] for line in read_text(table).splitlines()[1:]}
    return [f"{name}={table}" for name in MODELS if name in known - {only}]


def is_finished(folder: Path, fold: int) -> bool:
    """Whether the fold is trained and validated."""
    return (folder / f"fold_{fold}" / "validation" / "summary.json").is_file()


def predict(workspace: Path, raw: Path, number: str, name: str, folds: list[str]) -> Path:
    """Predict the unseen cases with the ensemble of the finished folds, unless it is done."""
    trainer, configuration = MODELS[name]
    folder = workspace / "predictions" / f"{trainer}__{len(folds)}folds"
    if not folder.is_dir() or len(list(folder.glob("*.nii.gz"))) < len(list_folder(raw / "imagesTs")):
        call("nnUNetv2_predict", "-i", str(raw / "imagesTs"), "-o", str(folder), "-d", number, "-c", configuration,
             "-tr", trainer, "-p", PLANS, "-f", *folds, "-device", "cpu", "-npp", "1", "-nps", "1")  # fmt: skip
    return folder


def masam(*arguments: str) -> None:
    """Run a subcommand of ``nnUNetv2_masam`` from this checkout."""
    subprocess.run([sys.executable, "-m", "nnunetv2_masam.cli", *arguments], check=True)


if __name__ == "__main__":
    main()
