"""What stands beside the test: margins, cases needed, false orders, several trainings, models that saw the cases."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import verdicts
from nnunetv2_masam.cli import main
from nnunetv2_masam.evaluation.differences import METHODS, NO_DIFFERENCE, THESE_MODELS, differences
from nnunetv2_masam.evaluation.margins import UNDECIDED, cases_needed, margin_claim, margin_claims
from nnunetv2_masam.evaluation.paired_tests import false_order, over_trainings
from nnunetv2_masam.evaluation.scores import run_spread
from tests.unit.evaluation.conftest import score_rows

NAN = math.nan
BASE, OURS = "nnUNetTrainer", "nnUNetTrainerMASAM"


@pytest.mark.parametrize(
    ("low", "high", "higher", "claim"),
    [
        (-0.009, 0.009, True, "equivalent within 0.01"),
        (-0.009, 0.02, True, "not worse by more than 0.01"),
        (-0.009, 0.02, False, UNDECIDED),
        (-0.02, 0.009, False, "not worse by more than 0.01"),
        (-0.02, 0.02, True, UNDECIDED),
        (-0.02, 0.009, True, UNDECIDED),
        (-0.03, -0.02, True, "worse by more than 0.01"),
        (0.02, 0.03, False, "worse by more than 0.01"),
        (-0.01, 0.005, True, UNDECIDED),
        (NAN, NAN, True, UNDECIDED),
    ],
)
def test_one_claim_about_a_margin(low: float, high: float, higher: bool, claim: str) -> None:
    assert margin_claim(low, high, 0.01, higher) == claim


def test_cases_needed_has_the_power_that_it_promises() -> None:
    """Against the textbook: 34 pairs for half a standard deviation; and by simulation."""
    assert cases_needed(0.5, 1.0) == 34
    random, needed = np.random.default_rng(0), int(cases_needed(0.02, 0.05))
    p = stats.ttest_1samp(random.normal(0.02, 0.05, (4000, needed)), 0, axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.02)
    assert cases_needed(10, 1) == 3
    assert math.isnan(cases_needed(0.01, 0))
    assert math.isnan(cases_needed(1e-9, 1))


def test_margins_of_a_frame_and_of_metrics_without_one() -> None:
    random = np.random.default_rng(1)
    base, close = random.normal(0.8, 0.05, 40), random.normal(0, 0.002, 40)
    rows = score_rows("B", {"Dice": list(base), "NSD": list(base)})
    rows += score_rows("A", {"Dice": list(base + close), "NSD": list(base)})
    found = margin_claims(differences(pd.DataFrame(rows), "B"), {"Dice": 0.01})
    assert found[["model", "metric", "claim"]].to_numpy().tolist() == [["A", "Dice", "equivalent within 0.01"]]
    assert found["sd"][0] == pytest.approx(np.std(close, ddof=1))
    assert found["cases_needed"][0] == cases_needed(0.01, found["sd"][0])
    assert margin_claims(pd.DataFrame(), {"Dice": 0.01}).empty


def test_probability_of_a_false_order_is_the_posterior() -> None:
    """The t distribution, against a direct draw from the posterior of mean and variance under the flat prior."""
    difference = np.array([0.11, -0.02, 0.05, 0.13, -0.07, -0.01, 0.09])
    n, random = len(difference), np.random.default_rng(0)
    variance = (n - 1) * difference.var(ddof=1) / random.chisquare(n - 1, 400_000)
    mean = random.normal(difference.mean(), np.sqrt(variance / n))
    assert false_order(difference) == pytest.approx(np.mean(mean < 0), abs=0.003)
    assert false_order(-difference) == false_order(difference)
    assert (false_order(np.zeros(5)), false_order(np.full(5, 0.1))) == (0.5, 0.0)
    assert math.isnan(false_order(np.array([0.1])))


# several trainings


def trained(model: str, means: list[float], seed: int = 0) -> list[dict[str, Any]]:
    """A row per training and case; cases differ in the same way in every training, and nearly so in every model."""
    cases = np.random.default_rng(9).normal(0, 0.03, 30)
    own = np.random.default_rng(seed).normal(0, 0.003, 30)
    cases += own - own.mean()
    return [row for run, mean in enumerate(means) for row in score_rows(model, {"Dice": list(mean + cases)}, run=run)]


def test_spread_of_trainings_stands_beside_that_of_cases() -> None:
    found = run_spread(pd.DataFrame(trained("A", [0.70, 0.72, 0.80]) + trained("B", [0.75]))).set_index("model")
    assert found["runs"].to_dict() == {"A": 3, "B": 1}
    assert found["sd_between_runs"]["A"] == pytest.approx(np.std([0.70, 0.72, 0.80], ddof=1))
    assert math.isnan(found["sd_between_runs"]["B"])
    assert found["highest"]["A"] - found["lowest"]["A"] == pytest.approx(0.1)
    assert found["sd_between_cases"]["A"] == pytest.approx(found["sd_between_cases"]["B"])
    assert found["sd_between_cases"]["A"] == pytest.approx(0.03, rel=0.3)


def test_a_verdict_is_about_the_methods_only_if_the_trainings_agree() -> None:
    """The same difference over cases, once among trainings that lie close together and once among scattered ones."""
    close = pd.DataFrame(trained("B", [0.700, 0.701, 0.702], seed=1) + trained("A", [0.720, 0.721, 0.722]))
    apart = pd.DataFrame(trained("B", [0.66, 0.70, 0.743], seed=1) + trained("A", [0.681, 0.72, 0.762]))
    (row,), (other,) = (differences(scores, "B").to_dict("records") for scores in (close, apart))
    assert (row["verdict"], row["runs"], row["run_verdict"], row["scope"]) == ("better", 3, "better", METHODS)
    assert (other["verdict"], other["run_verdict"], other["scope"]) == ("better", NO_DIFFERENCE, THESE_MODELS)
    assert row["mean"] == pytest.approx(row["run_mean"])


def test_one_training_of_a_model_has_no_test_over_trainings() -> None:
    (row,) = differences(pd.DataFrame(trained("B", [0.7, 0.71], seed=1) + trained("A", [0.8])), "B").to_dict("records")
    assert math.isnan(row["runs"])
    assert row["run_verdict"] is None
    assert all(map(math.isnan, over_trainings(np.array([1.0]), np.array([1.0, 2.0]), 0.1, 9)))
    assert all(map(math.isnan, over_trainings(np.array([1.0, 1.0]), np.array([2.0, 2.0]), 0.0, 9)))


def test_trainings_and_cases_both_count() -> None:
    """Welch's test where cases do not vary, the t-test over cases where trainings do not."""
    ours, theirs = np.array([0.72, 0.73, 0.75]), np.array([0.70, 0.71])
    welch = stats.ttest_ind(ours, theirs, equal_var=False)
    low, high, p = over_trainings(ours, theirs, 0.0, 30)
    assert p == pytest.approx(welch.pvalue)
    assert (low, high) == pytest.approx(tuple(welch.confidence_interval()))
    difference = np.random.default_rng(0).normal(0.02, 0.05, 12)
    same, shifted = np.array([0.7, 0.7]), np.array([0.7, 0.7]) + difference.mean()
    _, _, p = over_trainings(shifted, same, float(difference.std(ddof=1)), 12)
    assert p == pytest.approx(stats.ttest_1samp(difference, 0).pvalue)
    assert over_trainings(ours, theirs, 0.1, 30)[2] > over_trainings(ours, theirs, 0.0, 30)[2]


# the command


def test_trainings_margins_and_seen_models(dataset: Any, tmp_path: Path, capsys: Any, no_report: None) -> None:
    again = dataset.add_model("nnUNetTrainerAgain", lambda case: 1 + case % 2)
    arguments = ["compare", "-d", "901", f"base={BASE},{again}", f"{OURS}", "-np", "1", "-o", str(tmp_path)]
    assert main([*arguments, "--margin", "Dice=0.5", "hd95=3", "--seen", OURS]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    ours = f"{OURS} (seen)"
    assert set(summary["differences"]) == {ours}
    assert summary["runs"]["base"]["kidney"]["Dice"]["runs"] == 2
    assert summary["margins"][ours]["kidney"]["HD95_mm"]["claim"] == "equivalent within 3"
    rows = pd.read_csv(tmp_path / "cases.csv")
    assert rows.groupby("model")["run"].nunique().to_dict() == {"base": 2, ours: 1}
    # two trainings: shifts of 2 voxels, and of 1 or 2
    by_case = rows[(rows["model"] == "base") & (rows["label"] == "kidney")].groupby("case")["Dice"].mean()
    assert summary["summaries"]["base"]["kidney"]["Dice"]["mean"] == pytest.approx(by_case.mean())
    printed = capsys.readouterr().out
    assert "Trainings\n" in printed
    assert "equivalent within 3" in printed
    assert f"{OURS}: pretrained weights may have been trained on these cases" in printed


def test_a_table_of_trainings_gives_the_same_differences(dataset: Any, tmp_path: Path, no_report: None) -> None:
    again = dataset.add_model("nnUNetTrainerAgain", lambda case: 1 + case % 2)
    command = ["compare", "-d", "901", "-np", "1", "-o"]
    assert main([*command, str(tmp_path / "first"), f"base={BASE},{again}", f"ours={OURS}"]) == 0
    table = tmp_path / "first" / "cases.csv"
    assert main([*command, str(tmp_path / "second"), f"base={table}", f"ours={table}"]) == 0
    first, second = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("first", "second"))
    assert first["differences"] == second["differences"]
    assert first["runs"] == second["runs"]


def test_models_that_saw_the_cases_are_left_out_of_the_ranking_on_demand(
    dataset: Any, tmp_path: Path, no_report: None
) -> None:
    for name in ("nnUNetTrainerX", "nnUNetTrainerY"):
        dataset.add_model(name, lambda case: 1)
    arguments = ["compare", "-d", "901", "-np", "1", "-o", str(tmp_path), "--seen", OURS]
    for options, ranked in (([], 4), (["--rank-unseen"], 3)):
        assert main([*arguments, *options]) == 0
        ranking = json.loads((tmp_path / "summary.json").read_text())["rankings"]["average"]["Dice"]["models"]
        assert len(ranking) == ranked


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--margin", "Dice"], "--margin 'Dice': expected METRIC=number"),
        (["--margin", "sensitivity=0.1"], r"margin \(--margin\) of sensitivity: expected one of the metrics Dice"),
        (["--margin", "Dice=2"], r"margin \(--margin\) of Dice is 2, expected a difference above 0"),
        (["--seen", "nobody"], "--seen nobody: the models are nnUNetTrainer, nnUNetTrainerMASAM"),
        (["--lesion-rule", "brats-met"], "lesions are not measured one by one"),
        (["--calibration", "--match-labels-by-name"], "have no names"),
    ],
)
def test_options_that_do_not_fit(dataset: Any, capsys: Any, options: list[str], complaint: str) -> None:
    assert main(["compare", "-d", "901", "-np", "1", *options]) == 2
    error = capsys.readouterr().err
    assert re.search(complaint, error), error


def test_trainings_of_different_kinds_are_refused(dataset: Any, tmp_path: Path, capsys: Any) -> None:
    table = tmp_path / "t.csv"
    table.write_text("case,label,Dice\ncase_0,kidney,0.5\n")
    assert main(["compare", "-d", "901", f"base={BASE},{table}", "-np", "1"]) == 2
    assert "some of its trainings are folders and some tables" in capsys.readouterr().err
    assert main(["compare", "-d", "901", f"base={BASE},{BASE}", "-np", "1"]) == 2
    assert "are the same model" in capsys.readouterr().err


def test_validation_cases_that_are_training_cases(dataset: Any, capsys: Any) -> None:
    dataset.splits[1]["train"].append("case_2")
    dataset.write_json(dataset.preprocessed / "splits_final.json", dataset.splits)
    arguments = ["compare", "-d", "901", BASE, OURS, "-np", "1"]
    assert main(arguments) == 2
    assert "fold 1: case_2" in capsys.readouterr().err
    assert main([*arguments, "--folds", "0", "2"]) == 0


# calibration of the claims themselves: the short form of benchmarks/verdicts.py


def test_few_wrong_claims_of_equivalence_at_the_margin() -> None:
    found = verdicts.margin_rates(32, 200, seed=7)
    assert found["wrong: equivalent, though worse by the margin"] <= stats.binom.ppf(0.9999, 200, 0.025) / 200
    assert found["right: equivalent, without a difference"] > 0.5


def test_false_orders_are_as_frequent_as_stated() -> None:
    found = verdicts.order_rates(10, 400, seed=7)
    assert found["stated"] == pytest.approx(found["found"], abs=0.06)
