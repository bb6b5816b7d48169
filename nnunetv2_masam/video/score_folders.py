"""Scores of folders of predicted videos, as files."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import refuse_other_content, write_text
from nnunetv2_masam.video.cases import FILE_ENDING, read_frame_map
from nnunetv2_masam.video.classes import IGNORE
from nnunetv2_masam.video.frame_scores import as_markdown, count_cases, score_video
from nnunetv2_masam.video.masks import find_cases, frame_map_of


@dataclass(frozen=True)
class ScoresRequest:
    """Predictions to score.

    Attributes:
        dataset: number or name of the dataset that the cases belong to.
        predictions: folders of nnU-Net's predictions.
        references: folder of references; the dataset's ``labelsTr`` and ``labelsTs`` by default.
    """

    dataset: str
    predictions: tuple[Path, ...]
    references: Path | None = None


@dataclass(frozen=True)
class VideoScores:
    """Scores over all frames, by sequence and by class.

    Attributes:
        report: for ``scores.json``; see :func:`~nnunetv2_masam.video.frame_scores.score_video`.
        tables: the same as Markdown.
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
    labels = [path.parent / "labelsTr", path.parent / "labelsTs"]
    predictions = find_cases(request.predictions, frame_map)
    references = _find_references(predictions, labels if request.references is None else [request.references])
    counts = count_cases(predictions, references, frame_map)
    report = score_video(counts, [c.name for c in frame_map.classes if c.name != IGNORE])
    return VideoScores(report, as_markdown(report))


def _find_references(cases: Collection[str], folders: Sequence[Path]) -> dict[str, Path]:
    paths = [(case, folder / f"{case}{FILE_ENDING}") for folder in folders for case in cases]
    found = {case: path for case, path in paths if path.is_file()}
    if lacking := sorted(set(cases) - set(found)):
        raise ValueError(f"no references for {', '.join(lacking)} in {', '.join(map(str, folders))}")
    return found
