"""Several trainings of the same model: how far they lie apart, and whether a difference is one of the methods.

The same method trained again gives another model. Åkesson et al. (2024, doi:10.1016/j.compbiomed.2024.108944) trained
nnU-Net with 50 seeds and found means that vary by more than many published gains. The trainings of two methods are two
independent samples of means over the cases, so their difference is tested by Welch's t-test over trainings. The test
takes the cases as given, so a claim on the methods needs the one over cases as well (`differences`).
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


def welch(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Lower and upper 95 % limit and two-sided p-value of the difference of two means; NaN below two values of each."""
    if min(len(ours), len(theirs)) < 2 or max(np.ptp(ours), np.ptp(theirs)) <= 10.0**-DECIMALS:
        return math.nan, math.nan, math.nan
    test = stats.ttest_ind(ours, theirs, equal_var=False)
    interval = test.confidence_interval(1 - SIGNIFICANCE)
    return float(interval.low), float(interval.high), float(test.pvalue)
