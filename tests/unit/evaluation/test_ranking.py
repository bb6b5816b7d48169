"""Rankings by hand, and their stability where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nnunetv2_masam.evaluation.ranking import rank_models, ranking
from tests.unit.evaluation.conftest import score_rows


def test_ranks_by_mean_and_by_mean_rank_can_differ() -> None:
    steady = np.full(10, 0.7) + 0.001 * np.arange(10)
    brittle = np.where(np.arange(10) < 8, 0.8, 0.1)
    worst = np.full(10, 0.05)
    found = rank_models(pd.DataFrame({"brittle": brittle, "worst": worst, "steady": steady}), higher_is_better=True)
    assert found["model"].tolist() == ["steady", "brittle", "worst"]
    assert found["rank"].tolist() == [1, 2, 3]
    # by cases: brittle is first in 8 of 10, second in 2
    assert found["mean_rank"][1] == pytest.approx((8 * 1 + 2 * 2) / 10)
    assert found["rank_by_mean_rank"].tolist() == [2, 1, 3]
    assert found["beats"][2] == 0
    assert found["beats"][0] == 1


def test_ties_share_a_place_and_smaller_distances_are_better() -> None:
    found = rank_models(
        pd.DataFrame({"a": np.full(8, 3.0), "b": np.full(8, 3.0), "c": np.full(8, 2.0)}), higher_is_better=False
    )
    assert list(zip(found["model"], found["rank"], strict=True)) == [("c", 1), ("a", 2), ("b", 2)]
    assert found["first"].tolist() == [1, 0, 0]
    assert found["kendall_tau"][0] == pytest.approx(1)
    assert found["beats"].tolist() == [2, 0, 0]


def test_bootstrap_tells_a_clear_ranking_from_an_arbitrary_one() -> None:
    random = np.random.default_rng(0)
    base = random.normal(0.7, 0.1, 40)
    clear = rank_models(pd.DataFrame({f"m{i}": base + 0.05 * i for i in range(4)}), higher_is_better=True)
    arbitrary = rank_models(
        pd.DataFrame({f"m{i}": random.normal(0.7, 0.1, 40) for i in range(4)}), higher_is_better=True
    )
    assert clear["kendall_tau"][0] == 1
    assert (clear["rank_low"] == clear["rank_high"]).all()
    assert arbitrary["kendall_tau"][0] < 0.7
    assert arbitrary["first"].max() < 0.95
    assert (arbitrary["rank_low"] < arbitrary["rank_high"]).any()
    assert clear["first"].sum() == 1


def test_tau_equals_scipy_with_ties() -> None:
    from nnunetv2_masam.evaluation.ranking import _mean_tau

    ranks, others = np.array([1, 2, 2, 4]), np.array([[1, 2, 3, 4], [4, 2, 2, 1], [2, 1, 2, 4]])
    expected = np.mean([stats.kendalltau(ranks, row).statistic for row in others])
    assert _mean_tau(ranks, others) == pytest.approx(expected)
    assert math.isnan(_mean_tau(np.array([1, 1]), np.array([[1, 1]])))


def test_only_cases_that_all_models_have_count() -> None:
    models = {"a": [0.5, math.nan, 0.7], "b": [0.4, 0.9, 0.6], "c": [0.3, 0.3, 0.3]}
    rows = [row for model, dice in models.items() for row in score_rows(model, {"Dice": dice})]
    assert ranking(pd.DataFrame(rows))["cases"].tolist() == [2, 2, 2]
    nothing = pd.DataFrame(rows).assign(Dice=lambda frame: frame["Dice"].where(frame["model"] != "a"))
    assert ranking(nothing).empty
    assert ranking(pd.DataFrame(rows[:6])).empty  # two models
