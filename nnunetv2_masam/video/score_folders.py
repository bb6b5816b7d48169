"""Scores of folders of predicted videos, as files."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import refuse_other_content, write_text
from nnunetv2_masam.video.cases import FILE_ENDING
from nnunetv2_masam.video.classes import IGNORE
from nnunetv2_masam.video.frame_map import read_frame_map
from nnunetv2_masam.video.frame_scores import as_markdown, count_cases, score_video
from nnunetv2_masam.video.masks import find_cases, frame_map_of
from nnunetv2_masam.video.requests import ScoresRequest


@dataclass(frozen=True)
class VideoScores:
    """Scores over all frames, by sequence and by class.

    Attributes:
        report: for ``scores.json``; see :func:`~nnunetv2_masam.video.frame_scores.score_video`.
    """

    report: dict[str, Any]
    tables: str

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
    folders = [request.references] if request.references else [path.parent / f"labels{part}" for part in ("Tr", "Ts")]
    predictions = find_cases(request.predictions, frame_map)
    counts = count_cases(predictions, _find_references(predictions, folders), frame_map)
    report = score_video(counts, [c.name for c in frame_map.classes if c.name != IGNORE])
    return VideoScores(report, as_markdown(report))


def _find_references(cases: Collection[str], folders: Sequence[Path]) -> dict[str, Path]:
    paths = [(case, folder / f"{case}{FILE_ENDING}") for folder in folders for case in cases]
    found = {case: path for case, path in paths if path.is_file()}
    if lacking := sorted(set(cases) - set(found)):
        raise ValueError(f"no references for {', '.join(lacking)} in {', '.join(map(str, folders))}")
    return found
