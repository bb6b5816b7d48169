"""``nnUNetv2_masam crossval``: all folds of several trainers with stock commands, then ``compare``."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.arguments import add_dataset, add_output_folder, group, whole_number

if TYPE_CHECKING:
    from nnunetv2_masam.crossval.jobs import Job
    from nnunetv2_masam.crossval.request import Crossval
    from nnunetv2_masam.crossval.slurm import Submission

EPILOG = """\
What is finished is skipped and what was interrupted is resumed, so the same command can be given again.

  nnUNetv2_masam crossval -d 4 -c 3d_fullres -tr nnUNetTrainer nnUNetTrainerMASAM --gpus 0 1
  nnUNetv2_masam crossval -d 4 -c 3d_fullres -tr nnUNetTrainer nnUNetTrainerMASAM --status
  nnUNetv2_masam crossval -d 4 -c 3d_fullres -tr nnUNetTrainerMASAM --from-scratch
  nnUNetv2_masam crossval -d 4 -c 3d_fullres -tr nnUNetTrainer --slurm slurm_partition=gpu timeout_min=2880
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``crossval``."""
    parser.epilog = EPILOG
    _add_what_to_train(parser)
    _add_where_to_train(parser)
    add_output_folder(parser, "Folder for logs and comparison (default: crossval beside the models)", required=False)
    add = group(parser, "output").add_argument
    add("--status", action="store_true", help="Only show where each training stands")
    add("--dry-run", action="store_true", help="Only show the commands")


def _add_what_to_train(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser, "Number or name of the preprocessed dataset")
    add = group(parser, "what to train").add_argument
    add("-c", "--configuration", required=True, metavar="NAME", help="Configuration, such as 3d_fullres")
    add(
        "-tr",
        "--trainers",
        nargs="+",
        required=True,
        metavar="TRAINER",
        help="Trainers; the first one is the baseline of the comparison",
    )
    add("-p", "--plans", default="nnUNetPlans", metavar="NAME", help="Plans (default: %(default)s)")
    folds = "Folds to train (default: all of the cross-validation)"
    add("--folds", nargs="+", type=whole_number, metavar="F", help=folds)
    add("--pretrained-weights", type=Path, metavar="FILE", help="Checkpoint to fine-tune from")
    add(
        "--from-scratch",
        action="store_true",
        help="Also train each pretrained trainer's counterpart without pretrained weights, TRAINER_scratch, and "
        "compare the two",
    )


def _add_where_to_train(parser: argparse.ArgumentParser) -> None:
    add = group(parser, "where to train").add_argument
    add("--gpus", nargs="+", metavar="N", help="GPUs to use, one training on each (default: the first)")
    add(
        "--device",
        default="cuda",
        choices=("cuda", "cpu", "mps"),
        metavar="DEVICE",
        help="cuda, cpu or mps, as in nnUNetv2_train (default: %(default)s)",
    )
    add(
        "--slurm",
        nargs="*",
        metavar="KEY=VALUE",
        help="Submit to SLURM with these submitit parameters, instead of training here (default: one GPU with --device "
        "cuda, a CPU for each of nnU-Net's data loading processes, and two days, or what the partition allows)",
    )


def run(args: argparse.Namespace) -> int:
    """Run what is left, then compare."""
    from nnunetv2_masam.crossval import jobs as runner
    from nnunetv2_masam.crossval.request import CrossvalRequest, prepare_crossval
    from nnunetv2_masam.crossval.slurm import read_parameters, submit

    request = CrossvalRequest(
        dataset=args.dataset,
        configuration=args.configuration,
        trainers=args.trainers,
        plans=args.plans,
        folds=args.folds,
        pretrained_weights=args.pretrained_weights,
        from_scratch=args.from_scratch,
        device=args.device,
        output=args.output,
    )
    parameters = read_parameters(args.slurm or [])
    crossval = prepare_crossval(request)
    print("\n".join(runner.status_lines(crossval.jobs)), flush=True)
    if args.status:
        return 0
    left = crossval.left()
    if left:
        crossval.check()
    if args.dry_run:
        print("\n".join(" ".join(job.command()) for job in left))
        return 0
    if left and args.slurm is not None:
        return _report_submission(submit(left, parameters, crossval.output / "slurm"))
    if left and _run_here(left, args.gpus or ["0"] if args.device == "cuda" else [None]):
        return 1
    return _compare(crossval)


def _run_here(left: list[Job], gpus: list[str | None]) -> list[Job]:
    """Run jobs and say which failed; these are returned."""
    from nnunetv2_masam.crossval.jobs import run_locally

    try:
        failed = run_locally(left, gpus, _report)
    except KeyboardInterrupt:
        print("interrupted; the same command continues", flush=True)
        raise
    if failed:
        print(f"{len(failed)} of {len(left)} failed; the same command tries them again:")
        print("\n".join(f"  {job.name}: {job.log}" for job in failed))
    return failed


def _report_submission(submission: Submission) -> int:
    if submission.again:
        print(f"{len(submission.again)} jobs ended without a result and are submitted again:")
        print("\n".join(f"  {job.name}: {job.log}" for job in submission.again))
    if submission.submitted:
        asked = ", ".join(f"{key}={value}" for key, value in submission.parameters.items())
        print(f"submitted {len(submission.submitted)} jobs to SLURM, each with {asked}")
        print(f"--slurm KEY=VALUE asks for something else; what jobs print before training: {submission.logs}")
    if submission.queued:
        print(f"{len(submission.queued)} jobs are queued or running already")
    print("give the same command again to see where it stands, and to compare when all are finished")
    return 0


def _report(line: str) -> None:
    print(f"{datetime.now():%H:%M:%S}  {line}", flush=True)


def _compare(crossval: Crossval) -> int:
    from nnunetv2_masam.cli.compare import show
    from nnunetv2_masam.evaluation.pipeline import compare_models

    comparisons = crossval.comparisons()
    if not comparisons:
        print("all folds are trained; compare few-shot folds with: nnUNetv2_masam compare -d ID TRAINER@kN ...")
    for request, folder in comparisons:
        show(compare_models(request), folder)
    return 0
