"""Tests and intervals for paired differences: plain functions from differences to p-values and limits.

Every test here has an exact form for small samples:

* `sign_flip_p`: the paired permutation test of the mean. It is `scipy.stats.permutation_test` with
  ``permutation_type="samples"``, as one matrix product with signs that all rows share: a comparison has hundreds of
  rows of labels, metrics, models and groups.
* `wilcoxon_p`: Wilcoxon's signed-rank test with the exact distribution of midranks, also under ties and zeros, where
  `scipy.stats.wilcoxon` changes to a normal approximation.
* `mcnemar_p`: McNemar's exact test of paired proportions.
* `false_order`: the probability that the order of two means is false.
* `corrected_resampled_t`: the t-test of Nadeau and Bengio (2003, doi:10.1023/A:1024068626366) over folds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import special, stats

SIGNIFICANCE = 0.05
PERMUTATIONS = 9999  # random sign patterns where there are more than this many in all
BOOTSTRAP_RESAMPLES = 9999
MIN_CASES_FOR_INTERVAL = 6
# rounds off what floating-point subtraction adds, so that equal differences are ties
DECIMALS = 12
_EXACT_WILCOXON = 200  # non-zero differences
_REL_TOLERANCE = 1e-9


def sign_flip_p(difference: np.ndarray, seed: int = 0) -> float:
    """Two-sided p-value of the sign-flip permutation test of the mean; NaN without cases.

    Without a true difference, each case's difference is as likely positive as negative. All sign patterns are
    evaluated up to 13 non-zero differences, `PERMUTATIONS` random ones beyond.

    Args:
        difference: one value per case.
        seed: of the random sign patterns.
    """
    if len(difference) == 0:
        return math.nan
    nonzero = difference[difference != 0]
    if len(nonzero) == 0:
        return 1.0
    exact = 2 ** len(nonzero) <= PERMUTATIONS
    sums = np.abs(_signs(len(nonzero), -1 if exact else seed) @ nonzero)
    as_extreme = np.count_nonzero(sums >= abs(nonzero.sum()) * (1 - _REL_TOLERANCE) - 10.0**-DECIMALS)
    # with random patterns the observed one is counted as one more, so that the test stays valid
    return float(as_extreme / len(sums) if exact else (as_extreme + 1) / (len(sums) + 1))


def _signs(count: int, seed: int) -> np.ndarray:
    """Patterns of signs, (patterns, count): all with a negative seed, else random ones."""
    if seed < 0:
        return (np.arange(2**count)[:, None] >> np.arange(count) & 1) * 2.0 - 1.0
    return _random_signs(1 << (count - 1).bit_length(), seed)[:, :count]


@lru_cache(maxsize=4)
def _random_signs(count: int, seed: int) -> np.ndarray:
    # in few widths, of which every test takes the columns that it needs: drawing them takes longer than using them
    return np.random.default_rng(seed).integers(0, 2, (PERMUTATIONS, count), dtype=np.int8) * 2.0 - 1.0


def wilcoxon_p(difference: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test; 1 where nothing differs, NaN without cases.

    Zeros are dropped, ties share their mean rank. The distribution is exact up to 200 non-zero differences, a normal
    approximation beyond.
    """
    if len(difference) == 0:
        return math.nan
    nonzero = difference[difference != 0]
    if len(nonzero) == 0:
        return 1.0
    if len(nonzero) > _EXACT_WILCOXON:
        return float(stats.wilcoxon(nonzero).pvalue)
    doubled = np.round(2 * stats.rankdata(np.abs(nonzero))).astype(int)  # midranks are multiples of 1/2
    probability = np.zeros(doubled.sum() + 1)  # of each sum of positive ranks
    probability[0] = 1.0
    for rank in doubled:
        probability[rank:] = (probability[rank:] + probability[:-rank]) / 2
        probability[:rank] /= 2
    center = doubled.sum() / 2
    distance = abs(doubled[nonzero > 0].sum() - center)
    return min(1.0, float(probability[np.abs(np.arange(len(probability)) - center) >= distance].sum()))


def rank_biserial(difference: np.ndarray) -> float:
    """Matched-pairs rank-biserial correlation: (positive ranks - negative ranks) / all ranks."""
    if len(difference) == 0:
        return math.nan
    nonzero = difference[difference != 0]
    if len(nonzero) == 0:
        return 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks[nonzero > 0].sum() - ranks[nonzero < 0].sum()) / ranks.sum())


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


def false_order(difference: np.ndarray) -> float:
    """Probability that the true mean has the other sign than the observed one; NaN below two cases.

    Under a flat prior, the posterior of the mean of normal differences is a t distribution around the observed mean.
    Christodoulou et al. (2025, arXiv:2505.04720) estimate this probability for published claims, and have to assume
    the correlation of the two models' scores; here the pairs are at hand.
    """
    if len(difference) < 2:
        return math.nan
    error = float(np.std(difference, ddof=1)) / math.sqrt(len(difference))
    mean = abs(float(np.mean(difference)))
    if error <= 10.0**-DECIMALS:
        return 0.5 if mean == 0 else 0.0
    return float(stats.t.sf(mean / error, len(difference) - 1))


def mcnemar_p(only_model: int, only_baseline: int) -> float:
    """Exact two-sided p-value of McNemar's test, from the two counts of cases in which one alone is right."""
    discordant = only_model + only_baseline
    return float(stats.binomtest(only_model, discordant).pvalue) if discordant else 1.0


def mean_interval(difference: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % confidence interval of the mean: at each end, the wider of a t and a BCa bootstrap interval.

    The t interval keeps its coverage in small and heavy-tailed samples, where a bootstrap is too narrow. BCa follows
    the skew of many small gains and a few large losses, where t is too narrow on one side.

    Returns:
        the limits; NaN below `MIN_CASES_FOR_INTERVAL` cases, both the mean where all differences are equal.
    """
    if len(difference) < MIN_CASES_FOR_INTERVAL:
        return math.nan, math.nan
    if np.ptp(difference) == 0:
        return float(difference[0]), float(difference[0])
    limits = np.array([t_interval(difference), bca_interval(difference, seed)])
    return float(limits[:, 0].min()), float(limits[:, 1].max())


def t_interval(difference: np.ndarray) -> tuple[float, float]:
    """95 % t interval of the mean of two or more values."""
    n = len(difference)
    half = float(stats.t.ppf(1 - SIGNIFICANCE / 2, n - 1)) * float(np.std(difference, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(difference))
    return mean - half, mean + half


def bca_interval(difference: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % bias-corrected and accelerated bootstrap interval of the mean of values that are not all equal.

    The method of `scipy.stats.bootstrap`, as one matrix product with weights that all samples of a size share.
    """
    n, mean = len(difference), float(np.mean(difference))
    sampled = np.sort(_bootstrap_weights(n, seed) @ difference) / n
    below = np.searchsorted(sampled, mean - 10.0**-DECIMALS) + np.searchsorted(sampled, mean + 10.0**-DECIMALS)
    bias = special.ndtri(below / (2 * len(sampled)))
    influence = mean - (difference.sum() - difference) / (n - 1)  # of leaving one case out
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    shifted = bias + special.ndtri([SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2])
    low, high = np.quantile(sampled, special.ndtr(bias + shifted / (1 - acceleration * shifted)))
    return float(low), float(high)


@lru_cache(maxsize=4)
def _bootstrap_weights(count: int, seed: int) -> np.ndarray:
    """How often each case is in each bootstrap sample, (samples, cases)."""
    random = np.random.default_rng(seed)
    return random.multinomial(count, np.full(count, 1 / count), BOOTSTRAP_RESAMPLES).astype(float)


def corrected_resampled_t(fold_differences: Sequence[float]) -> tuple[float, float, float]:
    """Lower and upper 95 % limit and two-sided p-value of the mean over the folds of a cross-validation.

    The training sets of K folds overlap, so their variance alone understates that of training anew. The correction
    adds the ratio of test to training cases, 1 / (K - 1), to 1 / K. NaN with fewer than two folds, or where all folds
    have the same difference.
    """
    values = np.asarray(fold_differences, dtype=float)
    k = len(values)
    if k < 2 or np.ptp(values) <= 10.0**-DECIMALS:
        return math.nan, math.nan, math.nan
    error = math.sqrt((1 / k + 1 / (k - 1)) * float(np.var(values, ddof=1)))
    mean, quantile = float(values.mean()), float(stats.t.ppf(1 - SIGNIFICANCE / 2, k - 1))
    p = 2 * float(stats.t.sf(abs(mean) / error, k - 1))
    return mean - quantile * error, mean + quantile * error, p


def over_trainings(ours: np.ndarray, theirs: np.ndarray, sd: float, cases: int) -> tuple[float, float, float]:
    """Lower and upper 95 % limit and two-sided p-value of the difference of two methods, each trained several times.

    The same method trained again gives another model. Åkesson et al. (2024, doi:10.1016/j.compbiomed.2024.108944)
    trained nnU-Net with 50 seeds and found means that vary by more than many published gains. A claim on the methods
    has to hold for other trainings and for other cases, so the variances of both are added: Welch's t-test of the
    means of the trainings, with the variance of the mean over cases as a third term; degrees of freedom by
    Satterthwaite's formula.

    Args:
        ours: mean over cases of each training of a method.
        theirs: the same of the other method.
        sd: standard deviation over cases of the differences between the means over trainings.
        cases: how many.

    Returns:
        the limits and the p-value; NaN below two trainings of each, two cases, or where nothing varies.
    """
    if min(len(ours), len(theirs), cases) < 2:
        return math.nan, math.nan, math.nan
    variances = [float(np.var(means, ddof=1)) / len(means) for means in (ours, theirs)] + [sd**2 / cases]
    error = math.sqrt(sum(variances))
    if error <= 10.0**-DECIMALS:
        return math.nan, math.nan, math.nan
    freedom = error**4 / sum(v**2 / (n - 1) for v, n in zip(variances, (len(ours), len(theirs), cases), strict=True))
    mean, quantile = float(ours.mean() - theirs.mean()), float(stats.t.ppf(1 - SIGNIFICANCE / 2, freedom))
    p = 2 * float(stats.t.sf(abs(mean) / error, freedom))
    return mean - quantile * error, mean + quantile * error, p


def proportion_interval(count: int, total: int) -> tuple[float, float]:
    """95 % Wilson interval of a proportion; NaN without cases."""
    if total == 0:
        return math.nan, math.nan
    interval = stats.binomtest(count, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
