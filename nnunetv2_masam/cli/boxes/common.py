"""What the commands on boxes share: images, which boxes to make of a mask, and what is printed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_masam.cli.arguments import add_output_folder, distance_mm, group, whole_number

if TYPE_CHECKING:
    from nnunetv2_masam.prompts.channel import Written
    from nnunetv2_masam.prompts.from_masks import MaskBoxes


def add_images(parser: argparse.ArgumentParser) -> Any:
    """Images to predict, and the folder to write them to with their boxes; returns the group for more input."""
    given = group(parser, "input")
    given.add_argument(
        "-i", "--images", type=Path, required=True, metavar="DIR", help="Folder of images (CASE_0000.nii.gz)"
    )
    add_output_folder(parser, "New folder to write, for nnUNetv2_predict -i")
    return given


def add_rule(parser: argparse.ArgumentParser) -> None:
    """Which boxes are made of reference masks."""
    add = group(parser, "boxes from references").add_argument
    add("--label", nargs="+", required=True, metavar="NAME", help="Labels or regions to box, taken together")
    add("--one-box", action="store_true", help="One box around all lesions of a case, not one for each")
    add(
        "--margin-mm",
        type=distance_mm,
        default=0.0,
        metavar="MM",
        help="Margin on every side, rounded to voxels (default: %(default)s)",
    )
    add(
        "--jitter-mm",
        type=distance_mm,
        default=0.0,
        metavar="MM",
        help="Largest random distance by which a face moves (default: %(default)s)",
    )
    add("--seed", type=whole_number, default=0, metavar="N", help="Seed of the random distances (default: %(default)s)")


def add_dataset_json(parser: argparse.ArgumentParser, folder: str) -> None:
    """``--dataset-json``, which names the labels."""
    group(parser, "input").add_argument(
        "--dataset-json",
        type=Path,
        metavar="FILE",
        help=f"dataset.json of the references (default: the one beside the folder of {folder})",
    )


def rule_of(args: argparse.Namespace) -> MaskBoxes:
    """The arguments of :func:`add_rule`."""
    from nnunetv2_masam.prompts.from_masks import MaskBoxes

    return MaskBoxes(tuple(args.label), not args.one_box, args.margin_mm, args.jitter_mm, args.seed)


def report(written: Written) -> int:
    """Print what became of each case."""
    for note in written.rounded.values():
        print(f"note: {note}")
    without = sorted(case for case, count in written.boxes.items() if count == 0)
    print(f"{sum(written.boxes.values())} boxes in {len(written.boxes)} cases")
    if without:
        print(f"{len(without)} cases without a box: {', '.join(without)}")
    if written.left_out:
        print(f"{len(written.left_out)} test cases without a reference left out: {', '.join(written.left_out)}")
    return 0
