"""``nnUNetv2_masam crossval``: all folds of several trainers with stock commands, then ``compare``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.arguments import whole_number

if TYPE_CHECKING:
    from nnunetv2_masam.jobs import Job

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
    add = parser.add_argument_group("what to train").add_argument
    add("-d", "--dataset", required=True, metavar="ID", help="Number or name of the preprocessed dataset")
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
    add(
        "--folds",
        nargs="+",
        type=whole_number,
        metavar="F",
        help="Folds to train (default: all of the cross-validation)",
    )
    add("--pretrained-weights", type=Path, metavar="FILE", help="Checkpoint to fine-tune from")
    add(
        "--from-scratch",
        action="store_true",
        help="Also train each pretrained trainer's counterpart without pretrained weights, TRAINER_scratch, and "
        "compare the two",
    )
    add = parser.add_argument_group("where to train").add_argument
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
        help="Submit to SLURM with these submitit parameters, instead of training here",
    )
    add = parser.add_argument_group("output").add_argument
    add("--status", action="store_true", help="Only show where each training stands")
    add("--dry-run", action="store_true", help="Only show the commands")
    add(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="Folder for logs and comparison (default: crossval beside the models)",
    )


def run(args: argparse.Namespace) -> int:
    """Run what is left, then compare."""
    from nnunetv2_masam import jobs as runner

    controls = _controls(args)
    args.trainers = _with_controls(args.trainers, controls)
    dataset, output, jobs = _prepare(args, list(controls.values()))
    print("\n".join(runner.status_lines(jobs)), flush=True)
    left = [job for job in jobs if job.state() != runner.FINISHED]
    if args.dry_run:
        print("\n".join(" ".join(job.command()) for job in left))
    if args.status or args.dry_run:
        return 0
    if left and args.slurm is not None:
        submitted = runner.submit(left, _parameters(args.slurm), output / "slurm")
        print(f"submitted {len(submitted)} of {len(left)} jobs, the others are queued or running already;")
        print("give the same command again to see where it stands, and to compare when all are finished")
        return 0
    if left:
        gpus = args.gpus or ["0"] if args.device == "cuda" else [None]
        try:
            failed = runner.run_locally(left, gpus, _report)
        except KeyboardInterrupt:
            print("interrupted; the same command continues", flush=True)
            raise
        if failed:
            print(f"{len(failed)} of {len(jobs)} failed; the same command tries them again:")
            print("\n".join(f"  {job.name}: {job.log}" for job in failed))
            return 1
    return _compare(args, dataset, output, controls)


def _controls(args: argparse.Namespace) -> dict[str, str]:
    """Pretrained trainer → its counterpart without pretrained weights; none unless they are asked for."""
    if not args.from_scratch:
        return {}
    from nnunetv2_masam.controls import find_controls
    from nnunetv2_masam.nnunet_files import dataset_name, preprocessed_dataset

    folder = preprocessed_dataset(dataset_name(args.dataset))
    return find_controls(args.trainers, folder, args.plans, args.configuration, args.pretrained_weights is not None)


def _with_controls(trainers: Sequence[str], controls: Mapping[str, str]) -> list[str]:
    """Each trainer, followed by its counterpart."""
    both = [name for trainer in trainers for name in (trainer, controls.get(trainer, trainer))]
    return list(dict.fromkeys(both))


def _prepare(args: argparse.Namespace, controls: Sequence[str]) -> tuple[str, Path, list[Job]]:
    from nnunetv2_masam.evaluation.results import find_splits
    from nnunetv2_masam.jobs import make_jobs
    from nnunetv2_masam.nnunet_files import dataset_name, folder_of, preprocessed_dataset

    dataset = dataset_name(args.dataset)
    if not preprocessed_dataset(dataset).is_dir():
        raise ValueError(f"-d {args.dataset}: not in nnUNet_preprocessed. Run nnUNetv2_plan_and_preprocess first")
    splits = find_splits(dataset)
    # nnU-Net makes five folds at the first training
    folds = args.folds or (list(range(5)) if splits is None else sorted(splits))
    base = folder_of("nnUNet_results")
    output = args.output or base / dataset / "crossval"
    jobs = make_jobs(
        dataset,
        args.configuration,
        args.trainers,
        folds,
        results=base,
        logs=output / "logs",
        plans=args.plans,
        pretrained_weights=args.pretrained_weights,
        from_scratch=controls,
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


def _compare(args: argparse.Namespace, dataset: str, output: Path, controls: Mapping[str, str]) -> int:
    from nnunetv2_masam.cli.compare import show
    from nnunetv2_masam.controls import describe_pair
    from nnunetv2_masam.evaluation import results
    from nnunetv2_masam.evaluation.pipeline import CompareRequest, ModelSource, compare_models

    splits = results.find_splits(dataset, args.folds)
    if args.folds and splits is not None and not set(args.folds) <= set(splits):
        print("all folds are trained; compare few-shot folds with: nnUNetv2_masam compare -d ID TRAINER@kN ...")
        return 0
    models = {trainer: ModelSource(f"{trainer}__{args.plans}__{args.configuration}") for trainer in args.trainers}
    if len(models) != 2 * len(controls) or len(controls) > 1:  # else it is the comparison of the one pair
        request = CompareRequest([*models.values()], dataset=dataset, folds=args.folds)
        show(compare_models(request), output / "comparison")
    for trainer, control in controls.items():
        pair = CompareRequest([models[control], models[trainer]], dataset=dataset, folds=args.folds)
        comparison = compare_models(pair)
        comparison.title = f"What pretrained weights give: {trainer} against {control}. {comparison.title}"
        comparison.notes.insert(0, describe_pair(trainer, control))
        show(comparison, output / f"weights_{trainer}")
    return 0
