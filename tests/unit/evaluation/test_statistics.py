"""Statistics against values from textbooks, by hand, by brute force and against SciPy."""

from __future__ import annotations

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import verdicts
from nnunetv2_masam.evaluation.differences import (
    METHODS,
    NO_DIFFERENCE,
    NO_VALUE,
    THESE_MODELS,
    TOO_FEW,
    differences,
)
from nnunetv2_masam.evaluation.paired_tests import (
    bca_interval,
    corrected_resampled_t,
    holm,
    mcnemar_p,
    mean_interval,
    rank_biserial,
    sign_flip_p,
    t_interval,
    wilcoxon_p,
)
from nnunetv2_masam.evaluation.scores import summary
from tests.unit.evaluation.conftest import score_rows

DIFFERENCE = np.array([0.11, -0.02, 0.05, 0.13, 0.07, -0.01, 0.09])
TIES_AND_ZEROS = np.array([0.0, 0.2, 0.2, -0.2, 0.1, 0.1, 0.3, 0.0, 0.3])


def compare_pairs(
    ours: list[list[float]], theirs: list[list[float]], higher: bool = True, folds: list[int] | None = None
) -> list[SimpleNamespace]:
    """The rows of a model and a baseline with these scores by label, then by case."""
    metric = "Dice" if higher else "HD95_mm"
    rows = [
        part
        for model, labels in (("B", theirs), ("A", ours))
        for label, values in enumerate(labels)
        for part in score_rows(model, {metric: values}, label=str(label), folds=folds)
    ]
    return [SimpleNamespace(**row) for row in differences(pd.DataFrame(rows), "B").to_dict("records")]


def compare(ours: list[float], theirs: list[float], higher: bool = True, folds: list[int] | None = None):
    (found,) = compare_pairs([ours], [theirs], higher, folds)
    return found


def compare_difference(difference: np.ndarray, folds: list[int] | None = None) -> SimpleNamespace:
    baseline = np.full(len(difference), 0.5)
    return compare(list(baseline + difference), list(baseline), folds=folds)


def test_summary_counts_what_is_undefined_and_averages_by_fold() -> None:
    scores = pd.DataFrame(score_rows("A", {"Dice": [0.2, math.nan, 0.4, 0.9]}, folds=[0, 0, 1, 1]))
    (found,) = summary(scores).to_dict("records")
    assert (found["n"], found["n_undefined"]) == (3, 1)
    assert found["mean"] == pytest.approx(0.5)
    assert found["sd"] == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2))
    assert found["median"] == pytest.approx(0.4)
    assert summary(scores, by=["model", "fold"])["mean"].tolist() == pytest.approx([0.2, 0.65])


def test_summary_of_one_case_has_no_spread() -> None:
    (found,) = summary(pd.DataFrame(score_rows("A", {"Dice": [0.7]}))).to_dict("records")
    assert (found["n"], found["mean"]) == (1, 0.7)
    assert math.isnan(found["sd"])


# the tests, one by one


def test_holm_by_hand_and_with_undefined_values() -> None:
    # sorted: .01*4, .02*3, .03*2 → raised to .06, .04*1 → raised to .06
    assert holm([0.02, 0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.06, 0.04, 0.06])
    corrected = holm([0.02, math.nan])
    assert corrected[0] == pytest.approx(0.02)
    assert math.isnan(corrected[1])


@pytest.mark.parametrize("difference", [DIFFERENCE, TIES_AND_ZEROS, np.full(6, 0.1)])
def test_exact_tests_against_all_signs(difference: np.ndarray) -> None:
    """The share of sign patterns at least as extreme, for the mean and for the ranks, whose ties share a rank."""
    nonzero = difference[difference != 0]
    for test, weights in ((sign_flip_p, np.abs(nonzero)), (wilcoxon_p, stats.rankdata(np.abs(nonzero)))):
        observed = abs((np.sign(nonzero) * weights).sum()) - 1e-9
        sums = [abs(np.dot(signs, weights)) for signs in itertools.product((-1, 1), repeat=len(nonzero))]
        assert test(difference) == pytest.approx(np.mean([total >= observed for total in sums]))


def test_permutation_test_equals_scipy() -> None:
    random = np.random.default_rng(3)
    for n in (5, 9, 12):
        difference = random.standard_t(3, n) + 0.5
        expected = stats.permutation_test((difference,), np.mean, permutation_type="samples", n_resamples=9999)
        assert sign_flip_p(difference) == pytest.approx(expected.pvalue)
    difference = random.normal(0.3, 1, 40)  # too many for all sign patterns
    expected = stats.permutation_test((difference,), np.mean, permutation_type="samples", rng=1)
    assert sign_flip_p(difference) == pytest.approx(expected.pvalue, abs=0.01)  # two random samples of 9999
    assert sign_flip_p(difference, 1) == sign_flip_p(difference, 1)
    assert sign_flip_p(np.full(40, 0.1)) == pytest.approx(1e-4)  # never 0


def test_wilcoxon_equals_scipy_where_that_is_exact() -> None:
    random = np.random.default_rng(4)
    for n in (12, 49):
        difference = random.normal(0.3, 1, n)
        assert wilcoxon_p(difference) == pytest.approx(stats.wilcoxon(difference, method="exact").pvalue)
    many = random.normal(0.1, 1, 250)
    assert wilcoxon_p(many) == pytest.approx(stats.wilcoxon(many).pvalue)


def test_nothing_differs_and_nothing_is_there() -> None:
    for test in (sign_flip_p, wilcoxon_p):
        assert test(np.zeros(9)) == 1.0
        assert math.isnan(test(np.empty(0)))
    assert rank_biserial(np.zeros(9)) == 0.0


def test_rank_biserial_by_hand() -> None:
    # ranks of |.|: 1, 2, 3, 4; negative: 2
    assert rank_biserial(np.array([0.1, -0.2, 0.3, 0.4, 0.0])) == pytest.approx((8 - 2) / 10)


def test_intervals_equal_scipy() -> None:
    expected = stats.ttest_1samp(DIFFERENCE, 0).confidence_interval(0.95)
    assert t_interval(DIFFERENCE) == pytest.approx((expected.low, expected.high))
    skewed = np.random.default_rng(1).exponential(1, 40)
    bca = stats.bootstrap((skewed,), np.mean, n_resamples=9999, rng=np.random.default_rng(2)).confidence_interval
    assert bca_interval(skewed) == pytest.approx((bca.low, bca.high), abs=0.02)  # two random sets of samples
    assert bca_interval(skewed, 5) == bca_interval(skewed, 5)


def test_interval_is_the_wider_one_at_each_end_and_needs_six_cases() -> None:
    gains_and_a_loss = np.concatenate([0.03 + 0.001 * np.arange(31), [-0.5]])
    low, high = mean_interval(gains_and_a_loss)
    assert low == bca_interval(gains_and_a_loss)[0] < t_interval(gains_and_a_loss)[0]
    assert high == t_interval(gains_and_a_loss)[1]
    assert not np.isnan(mean_interval(DIFFERENCE[:6])).any()
    assert np.isnan(mean_interval(DIFFERENCE[:5])).all()


def test_mcnemar_by_hand() -> None:
    assert mcnemar_p(6, 0) == pytest.approx(2 / 2**6)
    assert mcnemar_p(5, 1) == pytest.approx(2 * (1 + 6) / 2**6)
    assert mcnemar_p(0, 0) == 1.0


def test_corrected_resampled_t_by_hand() -> None:
    # mean 0.03, variance 0.00025; standard error sqrt((1/5 + 1/4) * 0.00025)
    low, high, p = corrected_resampled_t([0.01, 0.02, 0.03, 0.04, 0.05])
    t = 0.03 / math.sqrt(0.45 * 0.00025)
    assert p == pytest.approx(2 * stats.t.sf(t, 4))
    assert (low + high) / 2 == pytest.approx(0.03)
    assert (p < 0.05) == (low > 0)
    for undefined in ([0.1], [0.1, 0.1, 0.1]):
        assert all(map(math.isnan, corrected_resampled_t(undefined)))


# the verdict


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
    found = compare_pairs(model, baseline)
    assert {pair.verdict for pair in found} == {verdict}
    assert {pair.n for pair in found} == {cases}


@pytest.mark.parametrize(("wins", "verdict"), [(5, TOO_FEW), (6, "better"), (0, NO_DIFFERENCE)])
def test_too_few_counts_the_cases_that_differ(wins: int, verdict: str) -> None:
    difference = np.concatenate([0.1 + 0.01 * np.arange(wins), np.zeros(30 - wins)])
    found = compare_difference(difference)
    assert (found.verdict, found.n, found.n_differ) == (verdict, 30, wins)
    assert found.p == found.wilcoxon_p == min(1.0, 2.0 ** (1 - wins))


def test_smaller_distances_are_better() -> None:
    baseline = [5.0 + i for i in range(8)]
    found = compare([value - 1 - 0.1 * i for i, value in enumerate(baseline)], baseline, higher=False)
    assert (found.verdict, found.effect) == ("better", 1.0)
    assert found.mean == pytest.approx(-1.35)


@pytest.mark.parametrize("seed", range(4))
def test_better_in_most_cases_with_a_few_failures_is_mixed(seed: int) -> None:
    difference = np.random.default_rng(seed).normal(0.03, 0.01, 32)
    difference[:3] -= 0.6
    found = compare_difference(difference)
    assert found.verdict == "mixed: better in most cases, not shown on average"
    assert found.effect > 0 > found.mean
    assert found.ci_low < 0 < found.ci_high
    assert found.scope == THESE_MODELS
    difference[:12] = -0.6 - 0.01 * np.arange(12)
    difference[12:] = 0.4 + 0.001 * np.arange(20)
    assert compare_difference(difference).verdict == NO_DIFFERENCE


def test_opposite_claims_of_mean_and_ranks_are_named() -> None:
    difference = np.concatenate([np.full(160, 0.01), np.full(40, -0.3)]) + 1e-5 * np.arange(200)
    found = compare_difference(difference)
    # 40 losses take the highest ranks, 160 small wins still outweigh them
    assert found.wilcoxon_p < 0.05 < found.effect + 0.5
    assert found.verdict == "mixed: better in most cases, worse on average"
    assert compare_difference(-difference).verdict == "mixed: worse in most cases, better on average"


def test_a_claim_agrees_with_the_interval_of_its_row() -> None:
    for seed in range(60):
        random = np.random.default_rng(seed)
        difference = random.normal(0.02, 0.02, 30)
        difference[random.random(30) < 0.08] -= 0.5
        found = compare_difference(difference)
        if found.verdict in ("better", "worse"):
            assert found.ci_low > 0 if found.verdict == "better" else found.ci_high < 0


def test_noise_shows_no_difference() -> None:
    found = compare_difference(np.random.default_rng(5).normal(0, 0.02, 30))
    assert (found.verdict, found.scope) == (NO_DIFFERENCE, "")
    assert found.ci_low < 0 < found.ci_high


def test_zero_width_is_warned_about() -> None:
    found = compare_difference(np.full(8, 0.1))
    assert found.ci_low == found.ci_high == pytest.approx(0.1)
    assert "zero width" in found.warning
    assert compare_difference(DIFFERENCE).warning == ""


# missing values


def test_no_pair_at_all_is_no_value() -> None:
    nothing = [math.nan] * 6
    found = compare(nothing, nothing, folds=[0] * 6)
    assert (found.n, found.verdict, found.scope, found.fold_verdict) == (0, NO_VALUE, "", None)
    assert math.isnan(found.p)
    # and no member of the family that is corrected for
    empty, full = compare_pairs([nothing, [0.1 + 0.01 * i for i in range(6)]], [nothing, [0.0] * 6])
    assert (empty.verdict, full.verdict) == (NO_VALUE, "better")


def test_only_cases_in_which_both_have_a_score_are_pairs() -> None:
    found = compare([1.0, math.nan, 3.0, 4.0], [0.5, 1.0, math.nan, 3.0])
    assert (found.n, found.mean) == (2, 0.75)
    with pytest.raises(ValueError, match=r"Dice of case_1, 0 is infinite, expected finite scores"):
        compare([1.0, math.inf], [1.0, 2.0])


# folds


def test_the_verdict_is_about_the_methods_only_if_the_folds_agree() -> None:
    random = np.random.default_rng(2)
    folds = [i % 5 for i in range(50)]
    steady = compare_difference(random.normal(0.05, 0.02, 50), folds)
    assert (steady.verdict, steady.scope, steady.fold_verdict) == ("better", METHODS, "better")
    by_fold = np.array([0.15, 0.10, 0.02, -0.03, 0.01])
    shaky = compare_difference(random.normal(0, 0.02, 50) + by_fold[folds], folds)
    assert (shaky.verdict, shaky.scope) == ("better", THESE_MODELS)
    assert (shaky.folds, shaky.fold_verdict) == (5, NO_DIFFERENCE)
    assert shaky.fold_mean == pytest.approx(shaky.mean)


def test_cases_without_folds_have_no_fold_level() -> None:
    assert compare_difference(DIFFERENCE, [-1] * 7).fold_verdict is None
    found = compare_difference(0.1 + 0.01 * np.arange(8.0), [0] * 8)
    assert (found.fold_verdict, found.scope) == (NO_VALUE, THESE_MODELS)


# calibration: the short form of benchmarks/verdicts.py, and what docs/compare-reference.md says of the long one

EXPERIMENTS = 80
MOST_CLAIMS = stats.binom.ppf(0.9999, EXPERIMENTS, 0.05) / EXPERIMENTS


@pytest.mark.parametrize("name", verdicts.SYMMETRIC)
def test_few_wrong_claims_and_covering_intervals(name: str) -> None:
    for n in (6, 32):
        found = verdicts.rates(verdicts.draws(verdicts.SYMMETRIC[name], n, EXPERIMENTS, seed=7))
        assert found["claim on the mean"] <= MOST_CLAIMS
        assert found["coverage of interval"] >= 1 - MOST_CLAIMS


@pytest.mark.parametrize("name", verdicts.FAILURES)
def test_few_wrong_claims_in_samples_that_hold_a_failure(name: str) -> None:
    found = verdicts.failure_rates(verdicts.FAILURES[name], 32, EXPERIMENTS, seed=7)
    assert found["with a failure: claim on the mean"] <= MOST_CLAIMS
    assert found["with a failure: Wilcoxon alone"] > 0.8  # which is why it does not decide


def test_clear_differences_are_claimed_and_luck_of_training_is_not() -> None:
    (shifted,) = verdicts.SHIFTED.values()
    assert verdicts.rates(verdicts.draws(shifted, 32, EXPERIMENTS, seed=7), 0.5)["claim on the mean"] > 0.6
    assert verdicts.fold_rates(100, EXPERIMENTS, seed=7)["claim on the methods"] <= MOST_CLAIMS


def test_the_page_has_the_tables_of_the_result() -> None:
    result = json.loads(verdicts.RESULT.read_text(encoding="utf-8"))
    assert verdicts.tables(result) in verdicts.PAGE.read_text(encoding="utf-8")
    run = result["settings"]["experiments"]
    for name in verdicts.SYMMETRIC:
        for found in result[name].values():
            assert found["claim on the mean"] <= stats.binom.ppf(0.999, run, 0.05) / run
    for name in verdicts.FAILURES:
        assert all(found.get("with a failure: claim on the mean", 0) <= 0.05 for found in result[name].values())
    for found in result["folds"].values():
        assert found["claim on the methods"] <= 0.05
