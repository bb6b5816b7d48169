"""Differences between models: mean, interval, tests and verdict, computed from the scores.

One quantity decides: the mean of the paired differences. Its interval, its test and the verdict are about that mean.

* Pairs are cases in which both models have a score. `scores` has the one rule for empty masks. A label without scores
  has no pairs.
* The test is the sign-flip permutation test of the mean (`paired_tests.sign_flip_p`), corrected over the labels of one
  metric and one pair of models by Holm's method. The average over labels is one question asked in advance, so it
  stays outside of that family. A claim also needs an interval that excludes 0.
* Wilcoxon's signed-rank test and the rank-biserial correlation (Kerby 2014, doi:10.2466/11.IT.3.1) stand beside it:
  they ask whether one model is better in most cases. Where the two tests differ, the verdict starts with ``mixed``.
* With few non-zero differences no test can reach the significance level: the smallest two-sided p-value of m of them
  is 2^(1-m), times the number of labels. Where that is above the level, there are too few cases to tell.
* Cases of one fold share a trained model. A verdict is about these trained models, unless a test over trainings agrees:
  over several runs of each method (`paired_tests.over_trainings`), or over folds (the corrected resampled t-test).
  Then it is about training with the two methods.
* Beside the test stands the probability that the order of the two means is false (`paired_tests.false_order`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nnunetv2_masam.evaluation.metrics import METRICS
from nnunetv2_masam.evaluation.paired_tests import (
    DECIMALS,
    SIGNIFICANCE,
    corrected_resampled_t,
    false_order,
    holm,
    mean_interval,
    over_trainings,
    rank_biserial,
    sign_flip_p,
    wilcoxon_p,
)
from nnunetv2_masam.evaluation.scores import AVERAGE, over_runs, run_means, tall

BETTER, WORSE = "better", "worse"
NO_DIFFERENCE = "no difference shown"
TOO_FEW = "too few cases to tell"
NO_VALUE = "no value"
INTERVAL = "wider of t and BCa bootstrap"
THESE_MODELS, METHODS = "these trained models", "the methods"
ZERO_WIDTH = "interval of zero width: the difference is the same in every case"
FOLD_LEVEL = ("folds", "fold_mean", "fold_ci_low", "fold_ci_high", "fold_p", "fold_p_holm", "fold_verdict")
RUN_LEVEL = ("runs", "run_mean", "run_ci_low", "run_ci_high", "run_p", "run_p_holm", "run_verdict")


def pairs(scores: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Each score of a model beside the baseline's of the same case: ``difference`` is the model's minus the baseline's.

    A missing score is no empty mask here: either the metric has none in any model, or it is not known of one.
    """
    long = tall(over_runs(scores))
    theirs = long.loc[long["model"] == baseline, ["case", "label", "metric", "value"]]
    paired = long[long["model"] != baseline].merge(theirs, on=["case", "label", "metric"], suffixes=("", "_baseline"))
    return paired.assign(difference=(paired["value"] - paired["value_baseline"]).round(DECIMALS))


def differences(scores: pd.DataFrame, baseline: str, by: Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
    """Compare each model with the baseline, by label and metric.

    Args:
        scores: of `scores.scores`; models that are not to be compared are left out.
        baseline: name of the model that the others are compared with.
        by: further columns, such as ``group``, within whose values everything is computed and corrected.
        seed: of permutation test and bootstrap.

    Returns:
        a row per `by`, model, label and metric: ``n`` pairs, ``n_differ`` whose scores differ, ``mean``, its interval
        ``ci_low, ci_high`` (NaN below six cases) by ``ci_method``, ``p, p_holm`` of the permutation test,
        ``wilcoxon_p, wilcoxon_p_holm``, ``effect`` (rank-biserial, positive where the model is better), ``verdict``,
        ``scope`` (of a claim: `THESE_MODELS` or `METHODS`), ``warning``, ``sd`` of the differences, ``false_order``,
        and the tests over folds and over runs (`FOLD_LEVEL`, `RUN_LEVEL`; NaN without folds, or with one run).

    Raises:
        ValueError: a score is infinite.
    """
    long = pairs(scores, baseline)
    if np.isinf(long["difference"]).any():
        bad = long[np.isinf(long["difference"])].iloc[0]
        raise ValueError(
            f"{bad['metric']} of {bad['case']}, {bad['label']} is infinite, expected finite scores. Leave the case out."
        )
    keys = [*by, "model", "metric", "label"]
    rows = [
        dict(zip(keys, key, strict=True)) | _row(rows, str(key[-2]), seed)
        for key, rows in long.groupby(keys, sort=False)
    ]
    found = pd.DataFrame(rows, columns=[*keys, *_COLUMNS])
    if found.empty:
        return found
    if scores["run"].any() and not by:
        found = _over_runs(found, scores, baseline)
    family = found.groupby([*by, "model", "metric", found["label"] == AVERAGE], sort=False)
    for p in ("p", "wilcoxon_p", "fold_p", "run_p"):
        corrected = f"{p}_holm"
        found[corrected] = family[p].transform(lambda column: holm(column.tolist()))
    found["family"] = family["n"].transform(lambda n: (n > 0).sum())
    claims = pd.DataFrame([_claims(row) for row in found.to_dict("records")], found.index)
    return found.assign(**claims)[[*keys, *_COLUMNS]]


_COLUMNS = (
    *("n", "n_differ", "mean", "ci_low", "ci_high", "ci_method", "p", "p_holm", "wilcoxon_p", "wilcoxon_p_holm"),
    *("effect", "verdict", "scope", "warning", "sd", "false_order", *FOLD_LEVEL, *RUN_LEVEL),
)


def _over_runs(found: pd.DataFrame, scores: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The rows with the test over trainings, where model and baseline have several."""
    means = {key: rows["mean"].to_numpy() for key, rows in run_means(scores).groupby(["model", "label", "metric"])}
    nothing = np.empty(0)
    levels = []
    for model, label, metric, sd, n in found[["model", "label", "metric", "sd", "n"]].itertuples(index=False):
        ours, theirs = (means.get((who, label, metric), nothing) for who in (model, baseline))
        several = min(len(ours), len(theirs)) > 1
        level: tuple[float, ...] = ()
        if several:
            level = (min(len(ours), len(theirs)), ours.mean() - theirs.mean(), *over_trainings(ours, theirs, sd, n))
        levels.append(dict(zip(RUN_LEVEL, level, strict=False)))
    return found.assign(**pd.DataFrame(levels, found.index))


def _row(rows: pd.DataFrame, metric: str, seed: int) -> dict[str, Any]:
    """What is computed of one model, label and metric alone."""
    rows = rows.dropna(subset="difference")
    difference = rows["difference"].to_numpy()
    low, high = mean_interval(difference, seed)
    zero_width = not math.isnan(low) and high - low <= 10.0**-DECIMALS
    found = {
        "n": len(difference),
        "n_differ": int(np.count_nonzero(difference)),
        "mean": float(np.mean(difference)) if len(difference) else math.nan,
        "ci_low": low,
        "ci_high": high,
        "ci_method": "none" if math.isnan(low) else INTERVAL,
        "p": sign_flip_p(difference, seed),
        "wilcoxon_p": wilcoxon_p(difference),
        "effect": (1 if METRICS[metric].higher_is_better else -1) * rank_biserial(difference),
        "warning": ZERO_WIDTH if zero_width else "",
        "sd": float(np.std(difference, ddof=1)) if len(difference) > 1 else math.nan,
        "false_order": false_order(difference),
    }
    if len(rows) and (rows["fold"] >= 0).all():
        means = rows.groupby("fold")["difference"].mean().to_numpy()
        limits = corrected_resampled_t(means)
        found |= dict(zip(FOLD_LEVEL, (len(means), means.mean(), *limits), strict=False))
    return found


def _claims(row: dict[str, Any]) -> dict[str, Any]:
    """What the corrected tests of a row say: the verdict, its scope, and the verdict over folds."""
    sign = 1 if METRICS[row["metric"]].higher_is_better else -1
    on_mean = _claim(sign * row["mean"], row["p_holm"], row["ci_low"] > 0 or row["ci_high"] < 0)
    in_most = _claim(row["effect"], row["wilcoxon_p_holm"])
    verdict = _verdict(on_mean, in_most, row["n"], row["n_differ"], row["family"])
    levels: dict[str, str | None] = {}
    for level in ("fold", "run"):
        there, undefined = not math.isnan(row[f"{level}s"]), math.isnan(row[f"{level}_p"])
        claim = NO_VALUE if undefined else _claim(sign * row[f"{level}_mean"], row[f"{level}_p_holm"])
        levels[f"{level}_verdict"] = claim if there else None
    # trainings that were repeated say more than folds, whose training cases overlap
    scope = METHODS if (levels["run_verdict"] or levels["fold_verdict"]) == on_mean == verdict else THESE_MODELS
    claims = verdict not in (NO_VALUE, TOO_FEW, NO_DIFFERENCE)
    return {"verdict": verdict, "scope": scope if claims else "", **levels}


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
