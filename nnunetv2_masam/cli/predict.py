"""``nnUNetv2_masam predict``: segment a folder of images in constant memory."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.arguments import group
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.predict.request import PredictRequest

if TYPE_CHECKING:
    from nnunetv2_masam.predict.run import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Names as in nnU-Net's own command."""
    add = group(parser, "output").add_argument
    probabilities = "Refused, because it needs all logits of a volume: use nnUNetv2_predict"
    add("--save_probabilities", "--save-probabilities", action="store_true", help=probabilities)
    add("--verbose", action="store_true", help="Print the seconds that each case took")
    add("--disable_progress_bar", "--disable-progress-bar", action="store_true", help="Show no progress bar")


def predict_folder(args: argparse.Namespace) -> int:
    """Predict, and name the cases that failed."""
    from nnunetv2_masam.predict.run import predict

    if args.save_probabilities:
        raise ValueError(
            "--save_probabilities: not computed here, because it needs all logits of a volume. Use nnUNetv2_predict, "
            "which has the same options"
        )
    with Bar(args.disable_progress_bar) as bar:
        result = predict(request_from(args, PredictRequest), progress=bar.show)
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
        self._bar.n = progress.number - int(progress.done < progress.slices or not progress.slices)
        slices = f"{progress.done}/{progress.slices} slices" if progress.slices else "reading"
        self._bar.set_postfix_str(f"{progress.case}: {slices}")


PREDICT = Command(
    "Segment a folder of images, as nnUNetv2_predict, in constant memory",
    predict_folder,
    PredictRequest,
    """\
Options are those of nnUNetv2_predict, and segmentations the same up to rounding. Memory does not grow with the number
of slices, and with the number of classes only as one slab of slices does.

  nnUNetv2_masam predict -i imagesTs -o predictions -d 4 -c 3d_fullres -f 0 -device cpu
  nnUNetv2_masam predict -i imagesTs -o predictions -m MODEL -f 0 -device cpu --continue_prediction
""",
    add_arguments=add_arguments,
)
