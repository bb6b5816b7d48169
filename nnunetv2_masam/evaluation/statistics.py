"""From values per case to what may be said about the models.

* The difference of two models is paired by case. Its 95 % confidence interval is a bootstrap over cases
  (BCa, `scipy.stats.bootstrap`, seeded).
* The test is Wilcoxon's signed-rank test, two-sided (`scipy.stats.wilcoxon`), corrected over the labels of
  one metric and one pair of models by Holm's method. The average over labels is one question asked in
  advance, so it stays outside of that family.
* The effect size is the matched-pairs rank-biserial correlation (Kerby 2014, doi:10.2466/11.IT.3.1): from -1
  (worse in every case) to 1 (better in every case), with better in the sense of the metric.
* With few cases even a difference in the same direction in every one cannot reach the significance level: the
  smallest two-sided p-value of n pairs is 2^(1-n), times the number of labels. Where that is above the level,
  the verdict is that there are too few cases to tell. One label needs 6 cases, two 7, thirteen 10.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

SIGNIFICANCE = 0.05
BOOTSTRAP_RESAMPLES = 9999
TOO_FEW = "too few cases to tell"


@dataclass(frozen=True)
class Summary:
    """Values of one model, one structure, one metric over cases. Undefined (NaN) values are counted apart."""

    n: int
    n_undefined: int
    mean: float
    sd: float
    median: float
    fold_means: dict[int, float]


@dataclass(frozen=True)
class PairedDifference:
    """One model against the baseline, over the cases where both have a value.

    Attributes:
        n: cases in both.
        mean: mean of model minus baseline.
        ci_low: lower end of the 95 % confidence interval of the mean.
        ci_high: its upper end.
        p: Wilcoxon's p-value.
        p_holm: after Holm's correction.
        effect: rank-biserial correlation, positive where the model is better.
        verdict: ``better``, ``worse``, ``no difference shown`` or ``too few cases to tell``.
    """

    n: int
    mean: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float
    effect: float
    verdict: str


def summarise(values: Sequence[float], folds: Sequence[int]) -> Summary:
    """Mean, sample standard deviation, median and mean per fold."""
    array, fold_of = np.asarray(values, dtype=float), np.asarray(folds)
    defined = ~np.isnan(array)
    kept = array[defined]
    fold_means = {
        int(fold): _mean(array[defined & (fold_of == fold)]) for fold in sorted(set(fold_of.tolist())) if fold >= 0
    }
    return Summary(
        n=len(kept),
        n_undefined=int((~defined).sum()),
        mean=_mean(kept),
        sd=float(np.std(kept, ddof=1)) if len(kept) > 1 else math.nan,
        median=float(np.median(kept)) if len(kept) else math.nan,
        fold_means=fold_means,
    )


def compare_pairs(
    model: Sequence[Sequence[float]],
    baseline: Sequence[Sequence[float]],
    *,
    higher_is_better: bool,
    seed: int = 0,
) -> list[PairedDifference]:
    """Compare a model with the baseline on a family of labels, with Holm's correction over them.

    Args:
        model: values by label, then by case.
        baseline: the same of the baseline.
        higher_is_better: sense of the metric.
        seed: of the bootstrap.
    """
    differences = []
    for ours, theirs in zip(model, baseline, strict=True):
        difference = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
        differences.append(difference[~np.isnan(difference)])
    p_values = [wilcoxon_p(difference) for difference in differences]
    sign = 1 if higher_is_better else -1
    family = sum(len(difference) > 0 for difference in differences)
    return [
        _paired(difference, p, p_holm, family, sign, seed)
        for difference, p, p_holm in zip(differences, p_values, holm(p_values), strict=True)
    ]


def _paired(difference: np.ndarray, p: float, p_holm: float, family: int, sign: int, seed: int) -> PairedDifference:
    n = len(difference)
    low, high = bootstrap_interval(difference, seed)
    if 2.0 ** (1 - n) * family > SIGNIFICANCE:
        verdict = TOO_FEW
    elif p_holm >= SIGNIFICANCE:
        verdict = "no difference shown"
    else:
        verdict = "better" if sign * rank_biserial(difference) > 0 else "worse"
    effect = sign * rank_biserial(difference)
    return PairedDifference(n, _mean(difference), low, high, p, p_holm, effect, verdict)


def bootstrap_interval(difference: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % BCa bootstrap interval of the mean of paired differences; NaN with fewer than two cases."""
    if len(difference) < 2:
        return math.nan, math.nan
    if np.ptp(difference) == 0:
        return float(difference[0]), float(difference[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            (difference,),
            np.mean,
            n_resamples=BOOTSTRAP_RESAMPLES,
            method="BCa",
            random_state=np.random.default_rng(seed),
        )
    interval = result.confidence_interval
    return float(interval.low), float(interval.high)


def wilcoxon_p(difference: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test; 1 where nothing differs, NaN without cases."""
    if len(difference) == 0:
        return math.nan
    if not np.any(difference):
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; undefined p-values stay undefined and do not count."""
    p = np.asarray(p_values, dtype=float)
    defined = np.flatnonzero(~np.isnan(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    corrected = np.full(len(p), math.nan)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, float(p[index]) * (len(order) - rank)))
        corrected[index] = running
    return [float(value) for value in corrected]


def rank_biserial(difference: np.ndarray) -> float:
    """Matched-pairs rank-biserial correlation: (positive ranks - negative ranks) / all ranks."""
    nonzero = difference[difference != 0]
    if len(difference) == 0:
        return math.nan
    if len(nonzero) == 0:
        return 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks[nonzero > 0].sum() - ranks[nonzero < 0].sum()) / ranks.sum())


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan
