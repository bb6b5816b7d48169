"""From values per case to what may be said about the models.

One quantity decides: the mean of the paired differences. Its interval, its test and the verdict are about that mean.

* Pairs are cases in which both models have a score. `scores` has the one rule for empty masks, so a missing value (NaN)
  is refused here. A label without scores has no pairs.
* The test is the sign-flip permutation test of the mean (`paired_tests.sign_flip_p`), corrected over the labels of one
  metric and one pair of models by Holm's method. The average over labels is one question asked in advance, so it
  stays outside of that family. A claim also needs an interval that excludes 0.
* Wilcoxon's signed-rank test and the rank-biserial correlation (Kerby 2014, doi:10.2466/11.IT.3.1) stand beside it:
  they ask whether one model is better in most cases. Where the two tests differ, the verdict starts with ``mixed``.
* With few non-zero differences no test can reach the significance level: the smallest two-sided p-value of m of them
  is 2^(1-m), times the number of labels. Where that is above the level, there are too few cases to tell.
* Cases of one fold share a trained model. A verdict is about these trained models, unless the corrected resampled
  t-test over folds agrees; then it is about training with the two methods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunetv2_masam.evaluation.paired_tests import (
    DECIMALS,
    SIGNIFICANCE,
    corrected_resampled_t,
    holm,
    mean_interval,
    rank_biserial,
    sign_flip_p,
    wilcoxon_p,
)

BETTER, WORSE = "better", "worse"
NO_DIFFERENCE = "no difference shown"
TOO_FEW = "too few cases to tell"
NO_VALUE = "no value"
INTERVAL = "wider of t and BCa bootstrap"
THESE_MODELS, METHODS = "these trained models", "the methods"


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
class FoldDifference:
    """The difference at the level of folds: one value per training run.

    Attributes:
        folds: how many.
        mean: mean over folds of the mean difference in each.
        ci_low: lower end of the 95 % interval of the corrected resampled t-test; NaN with one fold.
        ci_high: its upper end.
        p: p-value of that test.
        p_holm: after Holm's correction over labels.
        verdict: ``better``, ``worse``, ``no difference shown`` or ``no value``.
    """

    folds: int
    mean: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class PairedDifference:
    """One model against the baseline, case by case.

    Attributes:
        n: pairs.
        n_differ: pairs whose values differ.
        mean: mean of model minus baseline.
        ci_low: lower end of the 95 % confidence interval of the mean; NaN where there are too few cases for one.
        ci_high: its upper end.
        ci_method: how it was computed, `INTERVAL` or ``none``.
        p: p-value of the permutation test of the mean.
        p_holm: after Holm's correction.
        wilcoxon_p: p-value of Wilcoxon's signed-rank test.
        wilcoxon_p_holm: after Holm's correction.
        effect: rank-biserial correlation, positive where the model is better.
        verdict: ``better``, ``worse``, ``mixed: …``, ``no difference shown``, ``too few cases to tell`` or
            ``no value``.
        scope: what the verdict speaks of: ``these trained models`` or ``the methods``; empty without a claim.
        fold_level: the same difference over folds; None without folds.
        warning: what to mind, such as an interval of zero width; empty if nothing.
    """

    n: int
    n_differ: int
    mean: float
    ci_low: float
    ci_high: float
    ci_method: str
    p: float
    p_holm: float
    wilcoxon_p: float
    wilcoxon_p_holm: float
    effect: float
    verdict: str
    scope: str = ""
    fold_level: FoldDifference | None = None
    warning: str = ""


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


def paired_difference(model: Sequence[float], baseline: Sequence[float]) -> np.ndarray:
    """Model minus baseline for every case.

    Args:
        model: score by case.
        baseline: the same of the baseline.

    Raises:
        ValueError: the two have different numbers of scores, or a score is missing or infinite.
    """
    ours, theirs = np.asarray(model, dtype=float), np.asarray(baseline, dtype=float)
    if ours.shape != theirs.shape:
        raise ValueError(f"model has {len(ours)} values, baseline {len(theirs)}: expected one of each per case")
    for name, values in (("model", ours), ("baseline", theirs)):
        if not np.isfinite(values).all():
            bad = values[~np.isfinite(values)]
            raise ValueError(
                f"{name} has {len(bad)} values such as {bad[0]}, expected finite numbers. "
                "Give only the cases in which both have a score."
            )
    difference: np.ndarray = np.round(ours - theirs, DECIMALS)
    return difference


def compare_pairs(
    model: Sequence[Sequence[float]],
    baseline: Sequence[Sequence[float]],
    *,
    higher_is_better: bool,
    seed: int = 0,
    folds: Sequence[Sequence[int]] | None = None,
) -> list[PairedDifference]:
    """Compare a model with the baseline on a family of labels, with Holm's correction over them.

    Args:
        model: scores by label, then by case; a label may have none.
        baseline: the same of the baseline.
        higher_is_better: sense of the metric.
        seed: of permutation test and bootstrap.
        folds: fold by label, then by case, for cases that were predicted in a cross-validation.

    Raises:
        ValueError: as `paired_difference`.
    """
    differences = [paired_difference(ours, theirs) for ours, theirs in zip(model, baseline, strict=True)]
    p_values = [sign_flip_p(difference, seed) for difference in differences]
    rank_p_values = [wilcoxon_p(difference) for difference in differences]
    sign = 1 if higher_is_better else -1
    fold_level = _fold_level(differences, folds, sign)
    family = sum(len(difference) > 0 for difference in differences)
    return [
        _paired(difference, sign, family, seed, *tests)
        for difference, *tests in zip(
            differences, p_values, holm(p_values), rank_p_values, holm(rank_p_values), fold_level, strict=True
        )
    ]


def _paired(
    difference: np.ndarray,
    sign: int,
    family: int,
    seed: int,
    p: float,
    p_holm: float,
    rank_p: float,
    rank_p_holm: float,
    fold_level: FoldDifference | None,
) -> PairedDifference:
    low, high = mean_interval(difference, seed)
    effect = sign * rank_biserial(difference)
    n_differ = int(np.count_nonzero(difference))
    on_mean = _claim(sign * _mean(difference), p_holm, excludes_zero=low > 0 or high < 0)
    in_most = _claim(effect, rank_p_holm)
    verdict = _verdict(on_mean, in_most, len(difference), n_differ, family)
    agrees = fold_level is not None and fold_level.verdict == on_mean == verdict
    claims = verdict not in (NO_VALUE, TOO_FEW, NO_DIFFERENCE)
    warning = ""
    if not math.isnan(low) and high - low <= 10.0**-DECIMALS:
        warning = "interval of zero width: the difference is the same in every case"
    return PairedDifference(
        n=len(difference),
        n_differ=n_differ,
        mean=_mean(difference),
        ci_low=low,
        ci_high=high,
        ci_method="none" if math.isnan(low) else INTERVAL,
        p=p,
        p_holm=p_holm,
        wilcoxon_p=rank_p,
        wilcoxon_p_holm=rank_p_holm,
        effect=effect,
        verdict=verdict,
        scope=(METHODS if agrees else THESE_MODELS) if claims else "",
        fold_level=fold_level,
        warning=warning,
    )


def _claim(advantage: float, p: float, excludes_zero: bool = True) -> str:
    """What a test alone says; the advantage is positive where the model is better."""
    if not (p < SIGNIFICANCE and excludes_zero):
        return NO_DIFFERENCE
    return BETTER if advantage > 0 else WORSE


def _verdict(on_mean: str, in_most: str, n: int, n_differ: int, family: int) -> str:
    if n == 0:
        return NO_VALUE
    if on_mean == in_most and on_mean != NO_DIFFERENCE:
        return on_mean
    if in_most != NO_DIFFERENCE:
        mean = "not shown on average" if on_mean == NO_DIFFERENCE else f"{on_mean} on average"
        return f"mixed: {in_most} in most cases, {mean}"
    if on_mean != NO_DIFFERENCE:
        return f"mixed: {on_mean} on average, not shown in most cases"
    # models that agree in every one of enough cases do show no difference
    informative = n_differ or n
    return TOO_FEW if 2.0 ** (1 - informative) * family > SIGNIFICANCE else NO_DIFFERENCE


def _fold_level(
    differences: Sequence[np.ndarray], folds: Sequence[Sequence[int]] | None, sign: int
) -> list[FoldDifference | None]:
    """The corrected resampled t-test of each label; None where a case belongs to no fold."""
    if folds is None:
        return [None] * len(differences)
    means = [_means_by_fold(difference, fold_of) for difference, fold_of in zip(differences, folds, strict=True)]
    tests = [corrected_resampled_t(found) for found in means]
    corrected = holm([p for _, _, p in tests])
    rows: list[FoldDifference | None] = []
    for found, (low, high, p), p_holm in zip(means, tests, corrected, strict=True):
        if not found:
            rows.append(None)
            continue
        verdict = NO_VALUE if math.isnan(p) else _claim(sign * sum(found), p_holm)
        rows.append(FoldDifference(len(found), sum(found) / len(found), low, high, p, p_holm, verdict))
    return rows


def _means_by_fold(difference: np.ndarray, folds: Sequence[int]) -> list[float]:
    fold_of = np.asarray(folds)
    if len(difference) == 0 or (fold_of < 0).any():
        return []
    return [float(difference[fold_of == fold].mean()) for fold in np.unique(fold_of)]


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan
