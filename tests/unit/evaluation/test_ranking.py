"""Rankings by hand, and their stability where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from nnunetv2_masam.evaluation.ranking import rank_models


def test_ranks_by_mean_and_by_mean_rank_can_differ() -> None:
    steady = np.full(10, 0.7) + 0.001 * np.arange(10)
    brittle = np.where(np.arange(10) < 8, 0.8, 0.1)
    worst = np.full(10, 0.05)
    found = rank_models({"brittle": brittle, "worst": worst, "steady": steady}, higher_is_better=True)
    assert found is not None
    assert [row.model for row in found.models] == ["steady", "brittle", "worst"]
    assert [row.rank for row in found.models] == [1, 2, 3]
    # by cases: brittle is first in 8 of 10, second in 2
    assert found.models[1].mean_rank == pytest.approx((8 * 1 + 2 * 2) / 10)
    assert [row.rank_by_mean_rank for row in found.models] == [2, 1, 3]
    assert found.models[2].beats == 0
    assert found.models[0].beats == 1


def test_ties_share_a_place_and_smaller_distances_are_better() -> None:
    found = rank_models({"a": np.full(8, 3.0), "b": np.full(8, 3.0), "c": np.full(8, 2.0)}, higher_is_better=False)
    assert found is not None
    assert [(row.model, row.rank) for row in found.models] == [("c", 1), ("a", 2), ("b", 2)]
    assert [row.first for row in found.models] == [1, 0, 0]
    assert found.kendall_tau == pytest.approx(1)
    assert [row.beats for row in found.models] == [2, 0, 0]


def test_bootstrap_tells_a_clear_ranking_from_an_arbitrary_one() -> None:
    random = np.random.default_rng(0)
    base = random.normal(0.7, 0.1, 40)
    clear = rank_models({f"m{i}": base + 0.05 * i for i in range(4)}, higher_is_better=True)
    arbitrary = rank_models({f"m{i}": random.normal(0.7, 0.1, 40) for i in range(4)}, higher_is_better=True)
    assert clear is not None
    assert arbitrary is not None
    assert clear.kendall_tau == 1
    assert all(row.rank_low == row.rank == row.rank_high for row in clear.models)
    assert arbitrary.kendall_tau < 0.7
    assert max(row.first for row in arbitrary.models) < 0.95
    assert any(row.rank_low < row.rank_high for row in arbitrary.models)
    assert sum(row.first for row in clear.models) == 1


def test_tau_equals_scipy_with_ties() -> None:
    from nnunetv2_masam.evaluation.ranking import _mean_tau

    ranks, others = np.array([1, 2, 2, 4]), np.array([[1, 2, 3, 4], [4, 2, 2, 1], [2, 1, 2, 4]])
    expected = np.mean([stats.kendalltau(ranks, row).statistic for row in others])
    assert _mean_tau(ranks, others) == pytest.approx(expected)
    assert math.isnan(_mean_tau(np.array([1, 1]), np.array([[1, 1]])))


def test_only_cases_that_all_models_have_count() -> None:
    found = rank_models({"a": np.array([0.5, math.nan, 0.7]), "b": np.array([0.4, 0.9, 0.6])}, higher_is_better=True)
    assert found is not None
    assert found.cases == 2
    assert rank_models({"a": np.array([math.nan]), "b": np.array([0.4])}, higher_is_better=True) is None
