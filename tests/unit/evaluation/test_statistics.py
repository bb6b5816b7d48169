"""Statistics against values from textbooks, by hand, and by brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from nnunetv2_masam.evaluation.statistics import (
    TOO_FEW,
    bootstrap_interval,
    compare_pairs,
    holm,
    rank_biserial,
    summarise,
    wilcoxon_p,
)


def test_summary_counts_what_is_undefined_and_averages_by_fold() -> None:
    found = summarise([0.2, math.nan, 0.4, 0.9], [0, 0, 1, 1])
    assert (found.n, found.n_undefined) == (3, 1)
    assert found.mean == pytest.approx(0.5)
    assert found.sd == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2))
    assert found.median == pytest.approx(0.4)
    assert found.fold_means == pytest.approx({0: 0.2, 1: 0.65})


def test_summary_of_one_case_has_no_spread() -> None:
    found = summarise([0.7], [-1])
    assert (found.n, found.mean, found.fold_means) == (1, 0.7, {})
    assert math.isnan(found.sd)


def test_holm_by_hand() -> None:
    # sorted: .01*4, .02*3, .03*2 → raised to .06, .04*1 → raised to .06
    assert holm([0.02, 0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.06, 0.04, 0.06])


def test_holm_leaves_undefined_values_out_of_the_family() -> None:
    corrected = holm([0.02, math.nan])
    assert corrected[0] == pytest.approx(0.02)
    assert math.isnan(corrected[1])


def test_wilcoxon_against_all_signs() -> None:
    """The exact distribution by enumeration: the share of sign patterns at least as extreme."""
    difference = np.array([0.11, -0.02, 0.05, 0.13, 0.07, -0.01, 0.09])
    ranks = np.argsort(np.argsort(np.abs(difference))) + 1
    center = ranks.sum() / 2
    observed = abs(ranks[difference > 0].sum() - center)
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    expected = np.mean([abs(total - center) >= observed for total in sums])
    assert wilcoxon_p(difference) == pytest.approx(expected)


def test_wilcoxon_without_any_difference() -> None:
    assert wilcoxon_p(np.zeros(9)) == 1.0


def test_rank_biserial_by_hand() -> None:
    # ranks of |.|: 1, 2, 3, 4; negative: 2
    assert rank_biserial(np.array([0.1, -0.2, 0.3, 0.4, 0.0])) == pytest.approx((8 - 2) / 10)


def test_bootstrap_covers_the_true_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for seed in range(60):
        low, high = bootstrap_interval(random.normal(0.3, 1.0, 25), seed)
        hits += low <= 0.3 <= high
    assert 50 <= hits <= 60


def test_bootstrap_is_seeded_and_copes_with_equal_differences() -> None:
    difference = np.array([0.1, 0.3, -0.2, 0.5, 0.25])
    assert bootstrap_interval(difference, 3) == bootstrap_interval(difference, 3)
    assert bootstrap_interval(np.full(4, 0.5)) == (0.5, 0.5)
    assert all(map(math.isnan, bootstrap_interval(np.array([0.5]))))


@pytest.mark.parametrize(
    ("cases", "labels", "verdict"),
    [
        (5, 1, TOO_FEW),
        (6, 1, "better"),
        (6, 2, TOO_FEW),
        (7, 2, "better"),
        (9, 13, TOO_FEW),
        (10, 13, "better"),
    ],
)
def test_verdict_needs_enough_cases_for_the_number_of_labels(cases: int, labels: int, verdict: str) -> None:
    baseline = [[0.5 + 0.01 * i for i in range(cases)]] * labels
    model = [[value + 0.1 + 0.001 * i for i, value in enumerate(row)] for row in baseline]
    found = compare_pairs(model, baseline, higher_is_better=True)
    assert {pair.verdict for pair in found} == {verdict}
    assert {pair.n for pair in found} == {cases}


def test_smaller_distances_are_better() -> None:
    baseline = [[5.0 + i for i in range(8)]]
    model = [[value - 1 - 0.1 * i for i, value in enumerate(baseline[0])]]
    (found,) = compare_pairs(model, baseline, higher_is_better=False)
    assert (found.verdict, found.effect) == ("better", 1.0)
    assert found.mean == pytest.approx(-1.35)


def test_cases_without_a_value_in_one_model_are_no_pairs() -> None:
    (found,) = compare_pairs([[0.5, math.nan, 0.7]], [[0.4, 0.4, math.nan]], higher_is_better=True)
    assert (found.n, found.verdict) == (1, TOO_FEW)
    assert found.mean == pytest.approx(0.1)


def test_noise_shows_no_difference() -> None:
    random = np.random.default_rng(5)
    baseline = random.normal(0.8, 0.05, 30)
    (found,) = compare_pairs([baseline + random.normal(0, 0.02, 30)], [baseline], higher_is_better=True)
    assert found.verdict == "no difference shown"
    assert found.ci_low < 0 < found.ci_high
