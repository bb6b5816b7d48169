"""Rankings of several models and how stable they are, in the manner of challengeR (Wiesenfarth et al. 2021,
doi:10.1038/s41598-021-82017-6).

Models are ranked by their mean score (aggregate, then rank), by their mean rank over cases (rank, then aggregate), and
by the number of models that they beat in a permutation test of the mean, corrected over all pairs by Holm's method. The
first is the ranking; the others show whether it hangs on the way of ranking. Bootstrap samples of the cases show
whether it hangs on the cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from nnunetv2_masam.evaluation.paired_tests import DECIMALS, SIGNIFICANCE, holm, sign_flip_p

RANKING_RESAMPLES = 1000


@dataclass(frozen=True)
class ModelRank:
    """The place of one model; 1 is the best, ties share the better place.

    Attributes:
        model: its name.
        mean: mean score over cases.
        rank: by the mean.
        rank_low: 2.5 % quantile of that rank over bootstrap samples of the cases.
        rank_high: 97.5 % quantile.
        first: share of bootstrap samples in which it is first.
        mean_rank: mean over cases of its rank in each.
        rank_by_mean_rank: by that mean rank.
        beats: models that it is significantly better than.
    """

    model: str
    mean: float
    rank: int
    rank_low: float
    rank_high: float
    first: float
    mean_rank: float
    rank_by_mean_rank: int
    beats: int


@dataclass(frozen=True)
class Ranking:
    """Models from best to worst by mean score.

    Attributes:
        cases: in which all models have a score.
        models: best first.
        kendall_tau: mean of Kendall's tau between the ranking of all cases and that of a bootstrap sample; 1 is
            perfectly stable.
        resamples: bootstrap samples.
    """

    cases: int
    models: tuple[ModelRank, ...]
    kendall_tau: float
    resamples: int


def rank_models(scores: Mapping[str, np.ndarray], *, higher_is_better: bool, seed: int = 0) -> Ranking | None:
    """Rank models by their scores; None without a case in which all of them have one.

    Args:
        scores: by model, in the order of the cases.
        higher_is_better: sense of the metric.
        seed: of bootstrap and permutation test.
    """
    names = list(scores)
    values = np.array([scores[name] for name in names]).T  # (cases, models)
    values = np.round(values[~np.isnan(values).any(axis=1)], DECIMALS)
    if not len(values):
        return None
    losses = -values if higher_is_better else values
    means = losses.mean(axis=0)
    mean_ranks = stats.rankdata(losses, axis=1).mean(axis=0)
    ranks = _places(means)
    uniform = np.full(len(values), 1 / len(values))
    weights = np.random.default_rng(seed).multinomial(len(values), uniform, RANKING_RESAMPLES)  # (resamples, cases)
    sampled = _places(weights @ losses / len(values))  # (resamples, models)
    low, high = np.quantile(sampled, (0.025, 0.975), axis=0, method="inverted_cdf")
    beats = _beats(losses, seed)
    places = _places(mean_ranks)
    order = sorted(range(len(names)), key=lambda i: (ranks[i], places[i], i))
    rows = tuple(
        ModelRank(
            names[i],
            float(values[:, i].mean()),
            int(ranks[i]),
            float(low[i]),
            float(high[i]),
            float((sampled[:, i] == 1).mean()),
            float(mean_ranks[i]),
            int(places[i]),
            beats[i],
        )
        for i in order
    )
    return Ranking(len(values), rows, _mean_tau(ranks, sampled), RANKING_RESAMPLES)


def _places(values: np.ndarray) -> np.ndarray:
    """Rank from the smallest along the last axis; values that differ by rounding only are ties."""
    ranks: np.ndarray = stats.rankdata(np.round(values, DECIMALS), method="min", axis=-1)
    return ranks


def _beats(losses: np.ndarray, seed: int) -> list[int]:
    """How many other models each is significantly better than."""
    models = losses.shape[1]
    pairs = list(combinations(range(models), 2))
    differences = [np.round(losses[:, a] - losses[:, b], DECIMALS) for a, b in pairs]
    counts = [0] * models
    for (a, b), difference, p in zip(
        pairs, differences, holm([sign_flip_p(difference, seed) for difference in differences]), strict=True
    ):
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
