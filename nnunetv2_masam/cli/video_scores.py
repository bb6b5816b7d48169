"""``nnUNetv2_masam video-scores``: IoU and Dice of predicted videos, frame by frame."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from pathlib import Path

from nnunetv2_masam.cli.frames import find_frame_map
from nnunetv2_masam.datasets.video_cases import FILE_ENDING, read_frame_map
from nnunetv2_masam.datasets.video_classes import IGNORE
from nnunetv2_masam.datasets.video_masks import find_cases
from nnunetv2_masam.datasets.video_scores import as_markdown, count_cases, score_video

EPILOG = """\
  nnUNetv2_masam video-scores -d 18 -i PREDICTED -o scores
  nnUNetv2_masam video-scores -d 18 -i MODEL/fold_*/validation -o scores      all folds together

Writes scores.json and scores.md: mIoU and Dice over all frames, for each sequence and for each class, in the variants
of docs/video.md. "challenge" is the rule of EndoVis: for each frame, the classes that its reference holds.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``video-scores``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("-d", "--dataset", required=True, metavar="ID", help="data set that the cases belong to")
    parser.add_argument(
        "-i", dest="predictions", type=Path, nargs="+", required=True, help="folders of nnU-Net's predictions"
    )
    parser.add_argument(
        "-r", dest="references", type=Path, help="folder of references (default: the data set's labelsTr and labelsTs)"
    )
    parser.add_argument("-o", dest="out", type=Path, help="folder for scores.json and scores.md (default: print only)")


def run(args: argparse.Namespace) -> int:
    """Score, print the tables, write both files."""
    path = find_frame_map(args.dataset)
    frame_map = read_frame_map(path)
    folders = [args.references] if args.references else [path.parent / "labelsTr", path.parent / "labelsTs"]
    predictions = find_cases(args.predictions, frame_map)
    counts = count_cases(predictions, _find_references(predictions, folders), frame_map)
    report = score_video(counts, [c.name for c in frame_map.classes if c.name != IGNORE])
    tables = as_markdown(report)
    print(tables, end="")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "scores.json").write_text(json.dumps(report, indent=1))
        (args.out / "scores.md").write_text(tables)
    return 0


def _find_references(cases: Collection[str], folders: Sequence[Path]) -> dict[str, Path]:
    paths = [(case, folder / f"{case}{FILE_ENDING}") for folder in folders for case in cases]
    found = {case: path for case, path in paths if path.is_file()}
    if lacking := sorted(set(cases) - set(found)):
        raise ValueError(f"no references for {', '.join(lacking)} in {', '.join(map(str, folders))}")
    return found
