"""Scores of folders of predicted videos, as files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import refuse_other_content, write_text
from nnunetv2_masam.video.cases import FILE_ENDING, ORIGINAL
from nnunetv2_masam.video.classes import IGNORE
from nnunetv2_masam.video.frame_map import FrameMap, read_frame_map
from nnunetv2_masam.video.frame_scores import as_markdown, count_cases, score_video
from nnunetv2_masam.video.masks import find_cases, frame_map_of, read_case
from nnunetv2_masam.video.requests import ScoresRequest


@dataclass(frozen=True)
class VideoScores:
    """Scores over all frames, by sequence and by class.

    Attributes:
        report: for ``scores.json``; see :func:`~nnunetv2_masam.video.frame_scores.score_video`.
        tables: the same as Markdown.
        reduced: the frames are larger than what was scored.
    """

    report: dict[str, Any]
    tables: str
    reduced: bool = False

    def write(self, folder: Path, overwrite: bool = False) -> None:
        """Write ``scores.json`` and ``scores.md``.

        Raises:
            ValueError: there are other scores, and they are not to be overwritten.
        """
        content = {"scores.json": json.dumps(self.report, indent=1) + "\n", "scores.md": self.tables}
        if not overwrite:
            for name, text in content.items():
                refuse_other_content(folder / name, text)
        for name, text in content.items():
            write_text(folder / name, text)


def score_predictions(request: ScoresRequest) -> VideoScores:
    """Score predictions of videos frame by frame.

    Raises:
        ValueError: predictions and references do not fit together.
    """
    path = frame_map_of(request.dataset)
    frame_map = read_frame_map(path)
    enlarge = request.original_size and frame_map.is_reduced
    labels = [path.parent / f"labels{part}" for part in ("Tr", "Ts")]
    if enlarge:  # sequences of small frames have the size of their cases, and one folder
        labels += [folder.with_name(f"{folder.name}{ORIGINAL}") for folder in labels]
    predictions = find_cases(request.predictions, frame_map)
    references = _find_references(predictions, labels if request.references is None else [request.references])
    if enlarge:
        _check_original(references, frame_map)
    counts = count_cases(predictions, references, frame_map, enlarge)
    report = score_video(counts, [c.name for c in frame_map.classes if c.name != IGNORE])
    report["size"] = "frames" if enlarge or not frame_map.is_reduced else "cases"
    return VideoScores(report, as_markdown(report), report["size"] == "cases")


def _check_original(references: Mapping[str, Path], frame_map: FrameMap) -> None:
    """Refuse references that are smaller than the frames."""
    for case, path in references.items():
        entry = frame_map.cases[case]
        if read_case(path, frame_map).shape[1:] != entry.size:
            raise ValueError(
                f"{path}: expected the size of the frames, {entry.size[0]} x {entry.size[1]}, for scores in original "
                "size. Convert the videos again, which writes labelsTr_original and labelsTs_original"
            )


def _find_references(cases: Collection[str], folders: Sequence[Path]) -> dict[str, Path]:
    paths = [(case, folder / f"{case}{FILE_ENDING}") for folder in folders for case in cases]
    found = {case: path for case, path in paths if path.is_file()}
    if lacking := sorted(set(cases) - set(found)):
        raise ValueError(f"no references for {', '.join(lacking)} in {', '.join(map(str, folders))}")
    return found
