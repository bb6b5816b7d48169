"""``nnUNetv2_masam crossval``: all folds of several trainers with stock commands, then ``compare``."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.arguments import group
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.crossval.request import CrossvalRequest

if TYPE_CHECKING:
    from nnunetv2_masam.crossval.jobs import Job
    from nnunetv2_masam.crossval.prepare import Crossval
    from nnunetv2_masam.crossval.slurm import Submission


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where to train, and what only shows."""
    add = group(parser, "where to train").add_argument
    add("--gpus", nargs="+", metavar="N", help="GPUs to use, one training on each (default: the first)")
    add(
        "--slurm",
        nargs="*",
        metavar="KEY=VALUE",
        help="Submit to SLURM with these submitit parameters, instead of training here (default: one GPU with --device "
        "cuda, a CPU for each of nnU-Net's data loading processes, and two days, or what the partition allows)",
    )
    add = group(parser, "output").add_argument
    add("--status", action="store_true", help="Only show where each training stands")
    add("--dry-run", action="store_true", help="Only show the commands")


def crossval(args: argparse.Namespace) -> int:
    """Run what is left, then compare."""
    from nnunetv2_masam.crossval import jobs as runner
    from nnunetv2_masam.crossval.prepare import prepare_crossval
    from nnunetv2_masam.crossval.slurm import read_parameters, submit

    parameters = read_parameters(args.slurm or [])
    prepared = prepare_crossval(request_from(args, CrossvalRequest))
    print("\n".join(runner.status_lines(prepared.jobs)), flush=True)
    if args.status:
        return 0
    left = prepared.left()
    if left:
        prepared.check()
    if args.dry_run:
        print("\n".join(" ".join(job.command()) for job in left))
        return 0
    if left and args.slurm is not None:
        return _report_submission(submit(left, parameters, prepared.output / "slurm"))
    if left and _run_here(left, args.gpus or ["0"] if args.device == "cuda" else [None]):
        return 1
    return _compare(prepared)


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

    comparison = crossval.comparison()
    if comparison is None:
        print("all folds are trained; compare few-shot folds with: nnUNetv2_masam compare -d ID TRAINER@kN ...")
    else:
        show(compare_models(comparison), crossval.output / "comparison")
    return 0


CROSSVAL = Command(
    "Train all folds of several trainers with stock commands, then compare",
    crossval,
    CrossvalRequest,
    """\
What is finished is skipped and what was interrupted is resumed, so the same command can be given again.

  nnUNetv2_masam crossval -d 4 -c 3d_fullres -tr nnUNetTrainer nnUNetTrainerMASAM --gpus 0 1
  nnUNetv2_masam crossval -d 4 -c 3d_fullres -tr nnUNetTrainer nnUNetTrainerMASAM --status
  nnUNetv2_masam crossval -d 4 -c 3d_fullres -tr nnUNetTrainer --slurm slurm_partition=gpu timeout_min=2880
""",
    add_arguments=add_arguments,
)
