"""Claims about a margin: equivalence, non-inferiority, and the number of cases that would show them.

A margin is the largest difference that does not matter, stated before the results are seen. The claims are read off the
95 % interval of the mean difference, as regulators do for non-inferiority (Walker and Nowacki 2011,
doi:10.1007/s11606-010-1513-8), so each is wrong in about 2.5 % of experiments at most. They are not corrected over
labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from scipy import stats

from nnunetv2_masam.evaluation.metrics import METRICS
from nnunetv2_masam.evaluation.paired_tests import SIGNIFICANCE

POWER = 0.8
MOST_CASES = 1_000_000
UNDECIDED = "undecided"


def margin_claims(differences: pd.DataFrame, margins: Mapping[str, float]) -> pd.DataFrame:
    """Claims about a margin, of each row of `differences.differences` whose metric has one.

    Returns:
        ``model, label, metric, n, margin``; ``claim``: ``equivalent within X``, ``not worse by more than X``, ``worse
        by more than X`` or `UNDECIDED`; and ``cases_needed``: the smallest number of cases in which a paired t-test
        shows a difference of the margin with a power of 80 %, given the spread ``sd`` of the differences at hand.
    """
    rows = differences[differences["metric"].isin(margins)] if len(differences) else differences
    keys = ["model", "label", "metric", "n", "sd"]
    if rows.empty:
        return pd.DataFrame(columns=[*keys, "margin", "claim", "cases_needed"])
    found = rows[keys].assign(margin=rows["metric"].map(margins))
    found["claim"] = [
        margin_claim(low, high, margin, METRICS[metric].higher_is_better)
        for low, high, margin, metric in zip(
            rows["ci_low"], rows["ci_high"], found["margin"], rows["metric"], strict=True
        )
    ]
    needed = zip(found["margin"], found["sd"], strict=True)
    return found.assign(cases_needed=[cases_needed(*row) for row in needed]).reset_index(drop=True)


def margin_claim(low: float, high: float, margin: float, higher_is_better: bool) -> str:
    """The strongest claim about a margin that an interval of the difference from the baseline allows."""
    worst, best = (low, high) if higher_is_better else (-high, -low)
    if worst > -margin:
        return f"equivalent within {margin:g}" if best < margin else f"not worse by more than {margin:g}"
    return f"worse by more than {margin:g}" if best < -margin else UNDECIDED


def cases_needed(margin: float, sd: float) -> float:
    """Cases in which a paired t-test at 5 % shows a difference of the margin with a power of 80 %; NaN if unknown.

    Args:
        margin: the difference.
        sd: standard deviation of the differences by case.
    """
    if math.isnan(sd) or sd == 0:
        return math.nan
    effect = margin / sd
    normal = (stats.norm.ppf(1 - SIGNIFICANCE / 2) + stats.norm.ppf(POWER)) / effect
    if normal**2 > MOST_CASES:
        return math.nan
    cases = max(2, math.floor(normal**2))  # the normal approximation needs a few less
    while _power(effect, cases) < POWER:
        cases += 1
    return float(cases)


def _power(effect: float, cases: int) -> float:
    quantile, shift = stats.t.ppf(1 - SIGNIFICANCE / 2, cases - 1), effect * math.sqrt(cases)
    return float(stats.nct.sf(quantile, cases - 1, shift) + stats.nct.cdf(-quantile, cases - 1, shift))
