"""Whether a structure is found at all: sensitivity and specificity of "structure present", by case.

Overlap and distance say how well a structure is outlined; where references can be empty, missing and inventing it are
errors of their own. McNemar's exact test compares two models on the cases in which one alone is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnunetv2_masam.evaluation.paired_tests import SIGNIFICANCE, holm, mcnemar_p, proportion_interval
from nnunetv2_masam.evaluation.scores import EMPTY_REFERENCE
from nnunetv2_masam.evaluation.statistics import BETTER, NO_DIFFERENCE, NO_VALUE, TOO_FEW, WORSE


@dataclass(frozen=True)
class Detection:
    """How often one model finds one structure.

    Attributes:
        present: cases whose reference holds the structure.
        found: of these, cases whose prediction holds it, too (anywhere).
        absent: cases whose reference does not hold it.
        false_alarms: of these, cases whose prediction does.
        sensitivity: found / present, NaN without such cases.
        sensitivity_low: lower end of its 95 % Wilson interval.
        sensitivity_high: upper end.
        specificity: 1 - false_alarms / absent, NaN without such cases.
        specificity_low: lower end of its 95 % Wilson interval.
        specificity_high: upper end.
    """

    present: int
    found: int
    absent: int
    false_alarms: int
    sensitivity: float
    sensitivity_low: float
    sensitivity_high: float
    specificity: float
    specificity_low: float
    specificity_high: float


@dataclass(frozen=True)
class Discordance:
    """McNemar's test of one proportion of two models.

    Attributes:
        only_model: cases in which the model alone is right.
        only_baseline: cases in which the baseline alone is right.
        p: exact two-sided p-value; NaN where no case asks for it.
        p_holm: after Holm's correction over labels.
        verdict: ``better``, ``worse``, ``no difference shown``, ``too few cases to tell`` or ``no value``.
    """

    only_model: int
    only_baseline: int
    p: float
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class DetectionDifference:
    """A model against the baseline in finding one structure."""

    sensitivity: Discordance
    specificity: Discordance


def detect(empty: Sequence[str]) -> Detection:
    """Count from the records' ``empty``: which of the masks are empty, by case."""
    absent = sum(kind in EMPTY_REFERENCE for kind in empty)
    present = len(empty) - absent
    found, alarms = present - empty.count("prediction"), empty.count("reference")
    return Detection(
        present,
        found,
        absent,
        alarms,
        found / present if present else math.nan,
        *proportion_interval(found, present),
        1 - alarms / absent if absent else math.nan,
        *proportion_interval(absent - alarms, absent),
    )


def compare_detection(model: Sequence[Sequence[str]], baseline: Sequence[Sequence[str]]) -> list[DetectionDifference]:
    """Compare a model with the baseline on a family of labels, with Holm's correction over them.

    Args:
        model: the records' ``empty`` by label, then by case.
        baseline: the same of the baseline.
    """
    sensitivity = _discordances(model, baseline, absent=False)
    specificity = _discordances(model, baseline, absent=True)
    return [DetectionDifference(*pair) for pair in zip(sensitivity, specificity, strict=True)]


def _discordances(model: Sequence[Sequence[str]], baseline: Sequence[Sequence[str]], absent: bool) -> list[Discordance]:
    wrong = "reference" if absent else "prediction"
    counts, p_values = [], []
    for ours, theirs in zip(model, baseline, strict=True):
        pairs = [
            (kind == wrong, other == wrong)
            for kind, other in zip(ours, theirs, strict=True)
            if (kind in EMPTY_REFERENCE) == absent
        ]
        counts.append((pairs.count((False, True)), pairs.count((True, False))))
        p_values.append(mcnemar_p(*counts[-1]) if pairs else math.nan)
    family = sum(not math.isnan(p) for p in p_values)
    return [
        Discordance(*count, p, p_holm, _verdict(*count, p_holm, family))
        for count, p, p_holm in zip(counts, p_values, holm(p_values), strict=True)
    ]


def _verdict(only_model: int, only_baseline: int, p_holm: float, family: int) -> str:
    if math.isnan(p_holm):
        return NO_VALUE
    if p_holm < SIGNIFICANCE:
        return BETTER if only_model > only_baseline else WORSE
    discordant = only_model + only_baseline
    return TOO_FEW if discordant and 2.0 ** (1 - discordant) * family > SIGNIFICANCE else NO_DIFFERENCE
