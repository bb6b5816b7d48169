"""``nnUNetv2_masam predict``: segment a folder of images in constant memory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.arguments import add_dataset, add_output_folder, group, positive_int, positive_number
from nnunetv2_masam.cli.arguments import whole_number as from_zero

if TYPE_CHECKING:
    from nnunetv2_masam.predict import Progress

EPILOG = """\
Options are those of nnUNetv2_predict, and segmentations the same up to rounding; memory does not grow with the number
of slices, and with the number of classes as one slab of slices does.

  nnUNetv2_masam predict -i imagesTs -o predictions -d 4 -c 3d_fullres -f 0 -device cpu
  nnUNetv2_masam predict -i imagesTs -o predictions -m MODEL -f 0 -device cpu --continue_prediction
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``predict``."""
    parser.epilog = EPILOG
    _add_model(parser)
    _add_how(parser)
    add_output_folder(parser, "Folder of the segmentations")
    add = group(parser, "output").add_argument
    add(
        "--continue_prediction",
        "--continue-prediction",
        action="store_true",
        help="Leave out cases that are segmented already",
    )
    add(
        "--save_probabilities",
        "--save-probabilities",
        action="store_true",
        help="Not computed here: nnUNetv2_predict writes probabilities",
    )
    add("--verbose", action="store_true", help="Print a line for each case")
    add("--disable_progress_bar", "--disable-progress-bar", action="store_true", help="Show no progress bar")


def _add_model(parser: argparse.ArgumentParser) -> None:
    add = group(parser, "input").add_argument
    add("-i", "--images", type=Path, required=True, metavar="DIR", help="Folder of images, CASE_0000.nii.gz and so on")
    add("-m", "--model-folder", type=Path, metavar="DIR", help="Folder that holds fold_0, instead of -d -c -tr -p")
    add_dataset(parser, required=False)
    add("-c", "--configuration", metavar="NAME", help="Configuration, such as 3d_fullres")
    add("-p", "--plans", default="nnUNetPlans", metavar="NAME", help="Plans (default: %(default)s)")
    add("-tr", "--trainer", default="nnUNetTrainer", metavar="NAME", help="Trainer (default: %(default)s)")
    folds = "Folds, or all for the model of all cases; logits of folds are averaged (default: 0 1 2 3 4)"
    add("-f", "--folds", nargs="+", type=fold, default=(0, 1, 2, 3, 4), metavar="F", help=folds)
    checkpoint = "Checkpoint of each fold (default: %(default)s)"
    add("-chk", "--checkpoint", default="checkpoint_final.pth", metavar="FILE", help=checkpoint)
    previous = "Segmentations of the previous stage, for the second stage of a cascade"
    add("-prev_stage_predictions", "--previous-stage", type=Path, metavar="DIR", help=previous)


def _add_how(parser: argparse.ArgumentParser) -> None:
    add = group(parser, "speed").add_argument
    step = "Step of the sliding window, as a fraction of the tile (default: %(default)s)"
    add("-step_size", "--step-size", type=positive_number, default=0.5, metavar="X", help=step)
    add("--disable_tta", "--disable-tta", action="store_true", help="No mirroring at test time; faster")
    add(
        "-device",
        "--device",
        default="cuda",
        choices=("cuda", "cpu", "mps"),
        metavar="DEVICE",
        help="cuda, cpu or mps (default: %(default)s)",
    )
    host = "Keep logits in the host's memory; without it, only where the GPU's is too small"
    add("--not_on_device", "--not-on-device", action="store_true", help=host)
    parts = "Number of commands that share the cases (default: %(default)s)"
    add("-num_parts", "--num-parts", type=positive_int, default=1, metavar="N", help=parts)
    part = "Which of these commands this is, from 0 (default: %(default)s)"
    add("-part_id", "--part-id", type=from_zero, default=0, metavar="N", help=part)
    ahead = "Cases to read and preprocess at a time; each is in memory (default: %(default)s)"
    add("-npp", "--preprocessing-threads", type=positive_int, default=1, metavar="N", help=ahead)
    behind = "Segmentations to write at a time (default: %(default)s)"
    add("-nps", "--writing-threads", type=positive_int, default=1, metavar="N", help=behind)


def fold(text: str) -> int | str:
    """A fold's number, or ``all``."""
    return text if text == "all" else from_zero(text)


def run(args: argparse.Namespace) -> int:
    """Predict, and name the cases that failed."""
    from nnunetv2_masam.predict import PredictRequest, predict

    if args.save_probabilities:
        raise ValueError(
            "--save_probabilities: probabilities of a whole volume are what this command does not compute. Use "
            "nnUNetv2_predict with the same options"
        )
    request = PredictRequest(
        images=args.images,
        output=args.output,
        model_folder=args.model_folder,
        dataset=args.dataset,
        configuration=args.configuration,
        plans=args.plans,
        trainer=args.trainer,
        folds=args.folds,
        checkpoint=args.checkpoint,
        step_size=args.step_size,
        mirroring=not args.disable_tta,
        device=args.device,
        on_device=not args.not_on_device,
        previous_stage=args.previous_stage,
        num_parts=args.num_parts,
        part_id=args.part_id,
        continue_prediction=args.continue_prediction,
        preprocessing_threads=args.preprocessing_threads,
        writing_threads=args.writing_threads,
    )
    with Bar(args.disable_progress_bar) as bar:
        result = predict(request, progress=bar.show)
    if args.verbose:
        print("\n".join(f"{case}: {seconds:.1f} s" for case, seconds in result.seconds.items()))
    kept = f", {len(result.kept)} were there already" if result.kept else ""
    print(f"{len(result.written)} segmentations written to {args.output}{kept}")
    for case, why in result.failed.items():
        print(f"{args.prog}: {case}: not predicted: {why}", file=sys.stderr)
    return int(bool(result.failed))


class Bar:
    """A progress bar of cases, with the slices of the current one."""

    def __init__(self, disable: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(unit="case", disable=disable)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, progress: Progress) -> None:
        """Draw where the prediction stands."""
        self._bar.total = progress.cases
        self._bar.n = progress.number - int(progress.done < max(progress.slices, 1))
        slices = f"{progress.done}/{progress.slices} slices" if progress.slices else "reading"
        self._bar.set_postfix_str(f"{progress.case}: {slices}")
