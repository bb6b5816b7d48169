"""Rankings of several models and how stable they are, in the manner of challengeR (Wiesenfarth et al. 2021,
doi:10.1038/s41598-021-82017-6).

Models are ranked by their mean score (aggregate, then rank), by their mean rank over cases (rank, then aggregate), and
by the number of models that they beat in a permutation test of the mean, corrected over all pairs by Holm's method. The
first is the ranking; the others show whether it hangs on the way of ranking. Bootstrap samples of the cases show
whether it hangs on the cases.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from nnunetv2_masam.evaluation.metrics import METRICS
from nnunetv2_masam.evaluation.paired_tests import DECIMALS, SIGNIFICANCE, holm, sign_flip_p
from nnunetv2_masam.evaluation.scores import over_runs, tall

RANKING_RESAMPLES = 1000
MIN_MODELS_TO_RANK = 3


def ranking(scores: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Rank the models by every label and metric, over the cases in which all of them have a score.

    Returns:
        a row per label, metric and model, the best model first: ``mean``, ``rank`` of it (1 is the best, ties share the
        better place) with the 95 % range ``rank_low, rank_high`` over bootstrap samples of the cases, share of samples
        in which it is ``first``, ``mean_rank`` over cases and ``rank_by_mean_rank``, how many models it ``beats``;
        ``cases`` and ``kendall_tau``, the mean of tau between this ranking and those of the samples. Empty with fewer
        than three models.
    """
    if scores["model"].nunique() < MIN_MODELS_TO_RANK:
        return pd.DataFrame()
    ranked = []
    for (label, metric), rows in tall(over_runs(scores)).groupby(["label", "metric"], sort=False):
        values = rows.pivot(index="case", columns="model", values="value")[list(rows["model"].unique())].dropna()
        if len(values):
            found = rank_models(values, METRICS[metric].higher_is_better, seed)
            ranked.append(found.assign(label=label, metric=metric, cases=len(values)))
    return pd.concat(ranked, ignore_index=True) if ranked else pd.DataFrame()


def rank_models(values: pd.DataFrame, higher_is_better: bool, seed: int = 0) -> pd.DataFrame:
    """Rank the columns (models) of a frame with a row per case."""
    values = values.round(DECIMALS)
    losses = (-values if higher_is_better else values).to_numpy()  # (cases, models)
    mean_ranks = stats.rankdata(losses, axis=1).mean(axis=0)
    ranks = _places(losses.mean(axis=0))
    uniform = np.full(len(values), 1 / len(values))
    weights = np.random.default_rng(seed).multinomial(len(values), uniform, RANKING_RESAMPLES)  # (resamples, cases)
    sampled = _places(weights @ losses / len(values))  # (resamples, models)
    low, high = np.quantile(sampled, (0.025, 0.975), axis=0, method="inverted_cdf")
    found = pd.DataFrame(
        {
            "model": values.columns,
            "mean": values.to_numpy().mean(axis=0),
            "rank": ranks.astype(int),
            "rank_low": low.astype(float),
            "rank_high": high.astype(float),
            "first": (sampled == 1).mean(axis=0),
            "mean_rank": mean_ranks,
            "rank_by_mean_rank": _places(mean_ranks).astype(int),
            "beats": _beats(losses, seed),
            "kendall_tau": _mean_tau(ranks, sampled),
        }
    )
    return found.sort_values(["rank", "rank_by_mean_rank"], kind="stable", ignore_index=True)


def _places(values: np.ndarray) -> np.ndarray:
    """Rank from the smallest along the last axis; values that differ by rounding only are ties."""
    ranks: np.ndarray = stats.rankdata(np.round(values, DECIMALS), method="min", axis=-1)
    return ranks


def _beats(losses: np.ndarray, seed: int) -> list[int]:
    """How many other models each is significantly better than."""
    pairs = list(combinations(range(losses.shape[1]), 2))
    differences = [np.round(losses[:, a] - losses[:, b], DECIMALS) for a, b in pairs]
    counts = [0] * losses.shape[1]
    corrected = holm([sign_flip_p(difference, seed) for difference in differences])
    for (a, b), difference, p in zip(pairs, differences, corrected, strict=True):
        if p < SIGNIFICANCE:
            counts[a if difference.mean() < 0 else b] += 1
    return counts


def _mean_tau(ranks: np.ndarray, sampled: np.ndarray) -> float:
    """Mean of Kendall's tau-b between a ranking and others, (resamples, models); NaN where all models are tied."""
    first, second = np.triu_indices(len(ranks), 1)
    order, orders = np.sign(ranks[first] - ranks[second]), np.sign(sampled[:, first] - sampled[:, second])
    untied = np.abs(order).sum() * np.abs(orders).sum(axis=1)
    taus = (orders @ order)[untied > 0] / np.sqrt(untied[untied > 0])
    return float(taus.mean()) if len(taus) else math.nan
