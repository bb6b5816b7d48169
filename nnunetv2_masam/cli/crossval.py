"""``nnUNetv2_masam crossval``: all folds of several trainers with stock commands, then ``compare``."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import Any

EPILOG = """\
What is finished is skipped and what was interrupted is resumed, so the same command can be given again.

  nnUNetv2_masam crossval -d 4 -c 3d_fullres -tr nnUNetTrainer nnUNetTrainerMASAM --gpus 0 1
  nnUNetv2_masam crossval -d 4 -c 3d_fullres -tr nnUNetTrainer nnUNetTrainerMASAM --status
  nnUNetv2_masam crossval -d 4 -c 3d_fullres -tr nnUNetTrainer --slurm slurm_partition=gpu timeout_min=2880
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``crossval``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("-d", "--dataset", required=True, metavar="ID", help="preprocessed data set, as an ID or name")
    add("-c", "--configuration", required=True, metavar="NAME", help="such as 3d_fullres")
    add("-tr", "--trainers", nargs="+", required=True, metavar="TRAINER", help="the first is the baseline")
    add("-p", "--plans", default="nnUNetPlans", metavar="NAME", help="plans identifier (default nnUNetPlans)")
    add("--folds", nargs="+", type=int, metavar="K", help="folds (default: all of the cross-validation)")
    add("--pretrained-weights", type=Path, metavar="FILE", help="checkpoint to fine-tune from")
    add("--gpus", nargs="+", metavar="N", help="GPUs to use, one training on each (default: the first)")
    add("--device", default="cuda", choices=("cuda", "cpu", "mps"), help="as in nnUNetv2_train")
    add("--slurm", nargs="*", metavar="KEY=VALUE", help="submit to SLURM with these submitit parameters")
    add("--status", action="store_true", help="only show where it stands")
    add("--dry-run", action="store_true", help="only show the commands")
    add(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="logs and comparison (default: crossval beside the models)",
    )


def run(args: argparse.Namespace) -> int:
    """Run what is left, then compare."""
    from nnunetv2_masam.evaluation import crossval

    dataset, output, jobs = _prepare(args)
    print("\n".join(crossval.status_lines(jobs)), flush=True)
    left = [job for job in jobs if job.state() != crossval.FINISHED]
    if args.dry_run:
        print("\n".join(" ".join(job.command()) for job in left))
    if args.status or args.dry_run:
        return 0
    if left and args.slurm is not None:
        submitted = crossval.submit(left, _parameters(args.slurm), output / "slurm")
        print(f"submitted {len(submitted)} of {len(left)} jobs, the others are queued or running already;")
        print("give the same command again to see where it stands, and to compare when all are finished")
        return 0
    if left:
        gpus = args.gpus or ["0"] if args.device == "cuda" else [None]
        try:
            failed = crossval.run_locally(left, gpus, _report)
        except KeyboardInterrupt:
            print("interrupted; the same command continues")
            return 130
        if failed:
            print(f"{len(failed)} of {len(jobs)} failed; the same command tries them again:")
            print("\n".join(f"  {job.name}: {job.log}" for job in failed))
            return 1
    return _compare(args, dataset, output)


def _prepare(args: argparse.Namespace) -> tuple[str, Path, list[Any]]:
    from nnunetv2.paths import nnUNet_results

    from nnunetv2_masam.evaluation import crossval, results

    dataset = results.dataset_name(args.dataset)
    if not nnUNet_results.is_set():
        raise ValueError("nnUNet_results is not set")
    splits = results.find_splits(dataset)
    # nnU-Net makes five folds at the first training
    folds = args.folds or (list(range(5)) if splits is None else sorted(splits))
    base = Path(str(nnUNet_results))
    output = args.output or base / dataset / "crossval"
    jobs = crossval.make_jobs(
        dataset,
        args.configuration,
        args.trainers,
        folds,
        results=base,
        logs=output / "logs",
        plans=args.plans,
        pretrained_weights=args.pretrained_weights,
        device=args.device,
    )
    return dataset, output, jobs


def _parameters(words: list[str]) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ValueError(f"--slurm {word!r}: expected KEY=VALUE, such as slurm_partition=gpu")
        found[key] = int(value) if value.isdigit() else value
    return found


def _report(line: str) -> None:
    print(f"{datetime.now():%H:%M:%S}  {line}", flush=True)


def _compare(args: argparse.Namespace, dataset: str, output: Path) -> int:
    from nnunetv2_masam.cli.compare import show
    from nnunetv2_masam.evaluation import results
    from nnunetv2_masam.evaluation.compare import CompareRequest, ModelSource, compare_models

    splits = results.find_splits(dataset, args.folds)
    if args.folds and splits is not None and not set(args.folds) <= set(splits):
        print("all folds are trained; compare few-shot folds with: nnUNetv2_masam compare -d ID TRAINER@kN ...")
        return 0
    models = [ModelSource(f"{trainer}__{args.plans}__{args.configuration}") for trainer in args.trainers]
    show(compare_models(CompareRequest(models, dataset=dataset, folds=args.folds)), output / "comparison")
    return 0
