"""Scores of predicted videos: IoU and Dice frame by frame, in the variants that papers on surgical video report.

Everything is computed from three counts of pixels for each frame and class: in both, in the reference, in the
prediction. Background has no part in the means except where said; pixels under the ignore label do not count.

====================  ====================================================================  ============================
variant               a frame's value                                                       then
====================  ====================================================================  ============================
``challenge``         mean over the classes that its reference holds; without any: 1 where  mean over frames
                      the prediction has none either, else 0
``with_background``   the same, background being a class like the others                    mean over frames
``isi``               mean over the classes that its reference or prediction holds;         mean over frames
                      without any: 1
``mean_class``        one value for each class that its reference or prediction holds       mean over a class's frames,
                                                                                            then over classes
``pooled``            counts only                                                           counts summed over frames;
                                                                                            mean over classes
====================  ====================================================================  ============================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_masam.video.classes import IGNORE
from nnunetv2_masam.video.frame_map import FrameMap
from nnunetv2_masam.video.masks import read_case

VARIANTS = {
    "challenge": "classes in the frame's reference (EndoVis' rule, Ch_IoU)",
    "with_background": "the same, background included",
    "isi": "classes in the frame's reference or prediction (ISI_IoU)",
    "mean_class": "mean over frames for each class, then over classes (mcIoU)",
    "pooled": "pixels of all frames counted together, mean over classes",
}
FRAME_METRICS = ("iou", "dice")


@dataclass(frozen=True)
class FrameCounts:
    """Pixels of F frames and K classes, background first.

    Attributes:
        both: (F, K), where reference and prediction agree.
        reference: (F, K).
        prediction: (F, K).
    """

    both: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray

    def values(self, metric: str) -> np.ndarray:
        """IoU or Dice of each frame and class, (F, K); NaN where neither has a pixel."""
        total = self.reference + self.prediction
        over, under = (self.both, total - self.both) if metric == "iou" else (2 * self.both, total)
        return np.divide(over, under, out=np.full(total.shape, np.nan), where=under > 0)

    def summed(self) -> FrameCounts:
        """All frames as if they were one."""
        return FrameCounts(*(counts.sum(0, keepdims=True) for counts in (self.both, self.reference, self.prediction)))


def count_frames(reference: np.ndarray, prediction: np.ndarray, num_classes: int, ignore: int | None) -> FrameCounts:
    """Count the pixels of (frames, height, width) labels.

    Args:
        reference: labels, the ignore label among them.
        prediction: labels below ``num_classes``.
        num_classes: K, with background and without the ignore label.
        ignore: the ignore label.
    """
    confusion = np.zeros((len(reference), num_classes, num_classes), np.int64)
    for n, (truth, guess) in enumerate(zip(reference, prediction, strict=True)):
        counted = truth != ignore if ignore is not None else np.ones(truth.shape, bool)
        pairs = truth[counted].astype(np.int64) * num_classes + guess[counted]
        confusion[n] = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return FrameCounts(np.diagonal(confusion, axis1=1, axis2=2).copy(), confusion.sum(2), confusion.sum(1))


def join(counts: Sequence[FrameCounts]) -> FrameCounts:
    """Frames of several cases, one after the other."""
    parts = ([getattr(c, name) for c in counts] for name in ("both", "reference", "prediction"))
    return FrameCounts(*(np.concatenate(part) for part in parts))


def count_cases(
    predictions: Mapping[str, Path], references: Mapping[str, Path], frame_map: FrameMap
) -> dict[str, FrameCounts]:
    """Read predictions and references case by case.

    Returns:
        sequence → counts of its frames.

    Raises:
        ValueError: shapes differ, or a label that the dataset does not define.
    """
    names = [c.name for c in frame_map.classes]
    ignore = names.index(IGNORE) if IGNORE in names else None
    num_classes = len(names) - (ignore is not None)
    found: dict[str, list[FrameCounts]] = {}
    for case in sorted(predictions):
        truth, guess = read_case(references[case], frame_map), read_case(predictions[case], frame_map)
        if truth.shape != guess.shape:
            raise ValueError(f"{predictions[case]}: shape {guess.shape}, but the reference has {truth.shape}")
        for path, volume, most in ((predictions[case], guess, num_classes), (references[case], truth, len(names))):
            if volume.max() >= most:
                raise ValueError(f"{path}: holds label {volume.max()}, but the dataset has 0 to {most - 1} there")
        counts = count_frames(truth, guess, num_classes, ignore)
        found.setdefault(frame_map.cases[case].sequence, []).append(counts)
    return {name: join(parts) for name, parts in found.items()}


def score(counts: FrameCounts) -> dict[str, dict[str, float | None]]:
    """All variants over frames, ``{variant: {"iou": …, "dice": …}}``; None where there is nothing to take a mean of."""
    in_reference, in_either = counts.reference > 0, (counts.reference + counts.prediction) > 0
    no_prediction = ~(counts.prediction[:, 1:] > 0).any(1)
    scores: dict[str, dict[str, float | None]] = {}
    for metric in FRAME_METRICS:
        values = counts.values(metric)
        fore = values[:, 1:]
        found = {
            "challenge": _mean(_frame_means(fore, in_reference[:, 1:], empty=no_prediction.astype(float))),
            "with_background": _mean(_frame_means(values, in_reference, empty=np.nan)),
            "isi": _mean(_frame_means(fore, in_either[:, 1:], empty=1.0)),
            "mean_class": _mean(_class_means(fore, in_either[:, 1:])),
            "pooled": _mean(counts.summed().values(metric)[0, 1:]),
        }
        for variant, value in found.items():
            scores.setdefault(variant, {})[metric] = value
    return scores


def score_classes(counts: FrameCounts, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Each class's own values, background included: over the frames whose reference holds it, over those whose
    reference or prediction does, and with all frames counted together."""
    in_reference, in_either = counts.reference > 0, (counts.reference + counts.prediction) > 0
    scores: dict[str, dict[str, Any]] = {
        name: {"frames": int(n)} for name, n in zip(names, in_reference.sum(0), strict=True)
    }
    for metric in FRAME_METRICS:
        values = counts.values(metric)
        columns = {
            "challenge": _class_means(values, in_reference),
            "mean_class": _class_means(values, in_either),
            "pooled": counts.summed().values(metric)[0],
        }
        for variant, column in columns.items():
            for name, value in zip(names, column, strict=True):
                scores[name].setdefault(variant, {})[metric] = None if np.isnan(value) else float(value)
    return scores


def score_video(counts_of: Mapping[str, FrameCounts], names: Sequence[str]) -> dict[str, Any]:
    """The report: all frames together, each sequence, the mean over sequences, each class.

    Args:
        counts_of: sequence → counts.
        names: of the classes, background first, without the ignore label.
    """
    together = join(list(counts_of.values()))
    scores = {name: score(counts) for name, counts in counts_of.items()}
    means = {
        variant: {
            metric: _mean(np.array([s[variant][metric] for s in scores.values()], float)) for metric in FRAME_METRICS
        }
        for variant in VARIANTS
    }
    return {
        "frames": len(together.both),
        "overall": score(together),
        "mean_over_sequences": means,
        "sequences": {name: {"frames": len(counts_of[name].both), **found} for name, found in scores.items()},
        "classes": score_classes(together, names),
    }


def as_markdown(report: Mapping[str, Any]) -> str:
    """Tables of a report, in per cent."""
    sequences = report["sequences"]
    lines = [
        f"{report['frames']} frames of {len(sequences)} sequences; per cent",
        "",
        "| variant | mIoU | Dice | mIoU, mean over sequences | Dice, mean over sequences | what |",
        "|---|---|---|---|---|---|",
    ]
    for variant, what in VARIANTS.items():
        cells = [*_cells(report["overall"][variant]), *_cells(report["mean_over_sequences"][variant])]
        lines.append(f"| {variant} | {' | '.join(cells)} | {what} |")
    lines += ["", "| sequence | frames | challenge mIoU | challenge Dice |", "|---|---|---|---|"]
    for name, entry in sequences.items():
        lines.append(f"| {name} | {entry['frames']} | {' | '.join(_cells(entry['challenge']))} |")
    columns = ("challenge", "mean_class", "pooled")
    lines += ["", "| class | frames with it | " + " | ".join(f"{c} IoU | {c} Dice" for c in columns) + " |"]
    lines.append("|---" * 8 + "|")
    for name, entry in report["classes"].items():
        cells = [cell for column in columns for cell in _cells(entry[column])]
        lines.append(f"| {name} | {entry['frames']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _frame_means(values: np.ndarray, counted: np.ndarray, empty: np.ndarray | float) -> np.ndarray:
    """(F,) means over the counted classes; ``empty`` for frames without any."""
    number = counted.sum(1)
    means = np.where(counted, values, 0).sum(1) / np.maximum(number, 1)
    return np.where(number > 0, means, empty)


def _class_means(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(K,) means over the frames that count for a class; NaN for classes without any."""
    number = counted.sum(0)
    return np.where(number > 0, np.where(counted, values, 0).sum(0) / np.maximum(number, 1), np.nan)


def _mean(values: np.ndarray) -> float | None:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def _cells(values: Mapping[str, float | None]) -> list[str]:
    found = (values[metric] for metric in FRAME_METRICS)
    return ["" if value is None else f"{100 * value:.2f}" for value in found]
