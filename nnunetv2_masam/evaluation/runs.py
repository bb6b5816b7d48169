"""Several trainings of the same model: their spread, and the test over trainings.

The same method trained again gives another model. Åkesson et al. (2024, doi:10.1016/j.compbiomed.2024.108944) trained
nnU-Net with 50 seeds and found means that vary by more than many published gains. A claim on the methods has to hold
for other trainings and for other cases, so `over_trainings` adds both variances.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from nnunetv2_masam.evaluation.paired_tests import DECIMALS, SIGNIFICANCE
from nnunetv2_masam.evaluation.scores import tall


def run_means(scores: pd.DataFrame) -> pd.DataFrame:
    """The mean over cases of each training, by model, label and metric; over the cases in which all have a score."""
    long = tall(scores)
    gap = long["value"].isna().groupby([long["case"], long["label"], long["metric"]]).transform("any")
    keys = ["model", "label", "metric", "run"]
    return long[~gap].groupby(keys, sort=False)["value"].mean().rename("mean").reset_index()


def run_spread(scores: pd.DataFrame) -> pd.DataFrame:
    """Spread between trainings beside the spread between cases.

    Returns:
        a row per model, label and metric: ``runs``, ``mean``, ``sd_between_runs`` of the means over cases (NaN for one
        training), ``lowest`` and ``highest`` of these means, and ``sd_between_cases`` of the means over trainings.
    """
    keys = ["model", "label", "metric"]
    by_run = run_means(scores).groupby(keys, sort=False)["mean"]
    found = by_run.agg(runs="count", mean="mean", sd_between_runs="std", lowest="min", highest="max")
    by_case = tall(scores).groupby([*keys, "case"], sort=False)["value"].mean()
    return found.join(by_case.groupby(keys).std().rename("sd_between_cases")).reset_index()


def over_trainings(ours: np.ndarray, theirs: np.ndarray, sd: float, cases: int) -> tuple[float, float, float]:
    """Lower and upper 95 % limit and two-sided p-value of the difference of two methods, each trained several times.

    Welch's t-test of the means of the trainings, with the variance of the mean over cases as a third term; degrees of
    freedom by Satterthwaite's formula.

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
