"""One rule for empty masks, the same cases for all models, and whether structures are found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nnunetv2_masam.evaluation.detection import compare_detection, detect
from nnunetv2_masam.evaluation.scores import Scores

NOTHING = {"Dice": math.nan, "HD95_mm": math.nan, "sensitivity": math.nan, "empty": "both"}
ALARM = {"Dice": 0.0, "HD95_mm": 90.0, "sensitivity": math.nan, "empty": "reference"}
MISSED = {"Dice": 0.0, "HD95_mm": 90.0, "sensitivity": 0.0, "empty": "prediction"}


def outlined(dice: float) -> dict[str, Any]:
    return {"Dice": dice, "HD95_mm": 3.0, "sensitivity": dice, "empty": ""}


def scores(**models: dict[str, list[dict[str, Any]]]) -> Scores:
    """Models → structures → a record per case."""
    records = {
        (model, str(case), name): record
        for model, structures in models.items()
        for name, rows in structures.items()
        for case, record in enumerate(rows)
    }
    structures = next(iter(models.values()))
    cases = [str(case) for case in range(len(next(iter(structures.values()))))]
    return Scores(records, list(models), cases, list(structures))


def test_finding_nothing_where_nothing_is_counts_as_the_best_in_every_model() -> None:
    found = scores(
        right={"cyst": [NOTHING, NOTHING, outlined(0.8), MISSED]},
        alarms={"cyst": [ALARM, NOTHING, outlined(0.9), outlined(0.5)]},
    )
    assert found.of("right", "cyst", "Dice").tolist() == [1, 1, 0.8, 0]
    assert found.of("alarms", "cyst", "Dice").tolist() == [0, 1, 0.9, 0.5]
    assert found.of("right", "cyst", "HD95_mm").tolist() == [0, 0, 3, 90]
    # what divides by the reference has no score there in any model
    for model, last in (("right", 0.0), ("alarms", 0.5)):
        sensitivity = found.of(model, "cyst", "sensitivity")
        assert np.isnan(sensitivity[:2]).all()
        assert sensitivity[3] == last


def test_a_label_that_is_nowhere_has_no_score_and_no_share_in_the_average() -> None:
    found = scores(
        a={"cyst": [NOTHING, NOTHING], "liver": [outlined(0.8), outlined(0.6)]},
        b={"cyst": [NOTHING, NOTHING], "liver": [outlined(0.7), MISSED]},
    )
    assert np.isnan(found.of("a", "cyst", "Dice")).all()
    assert found.average("a", "Dice").tolist() == [0.8, 0.6]
    assert found.average("b", "Dice").tolist() == [0.7, 0.0]


def test_the_average_is_over_the_same_structures_in_every_model() -> None:
    found = scores(
        right={"cyst": [NOTHING, outlined(0.4)], "liver": [outlined(0.8), outlined(0.6)]},
        alarms={"cyst": [ALARM, outlined(0.4)], "liver": [outlined(0.8), outlined(0.6)]},
    )
    assert found.average("right", "Dice") == pytest.approx([0.9, 0.5])
    assert found.average("alarms", "Dice") == pytest.approx([0.4, 0.5])


def test_a_metric_that_one_model_lacks_takes_no_case_from_the_others() -> None:
    unknown = outlined(0.7) | {"HD95_mm": math.nan}
    found = scores(ours={"cyst": [outlined(0.8), NOTHING]}, table={"cyst": [unknown, NOTHING]})
    assert found.of("ours", "cyst", "HD95_mm").tolist() == [3, 0]
    assert np.isnan(found.of("table", "cyst", "HD95_mm")).all()
    assert found.of("table", "cyst", "Dice").tolist() == [0.7, 1]


def test_detection_by_hand() -> None:
    kinds = ["both"] * 6 + ["reference"] * 2 + [""] * 9 + ["prediction"]
    found = detect(kinds)
    assert (found.present, found.found, found.absent, found.false_alarms) == (10, 9, 8, 2)
    assert (found.sensitivity, found.specificity) == (0.9, 0.75)
    wilson = stats.binomtest(9, 10).proportion_ci(method="wilson")
    assert (found.sensitivity_low, found.sensitivity_high) == pytest.approx((wilson.low, wilson.high))
    always = detect(["", ""])
    assert math.isnan(always.specificity)
    assert math.isnan(always.specificity_low)


def test_mcnemar_on_found_and_on_invented_structures_apart() -> None:
    model = ["prediction"] * 1 + [""] * 11 + ["reference"] * 8
    baseline = [""] * 1 + ["prediction"] * 8 + [""] * 3 + ["both"] * 8
    (found,) = compare_detection([model], [baseline])
    assert (found.sensitivity.only_model, found.sensitivity.only_baseline) == (8, 1)
    assert found.sensitivity.p == pytest.approx(2 * (1 + 9) / 2**9)
    assert (found.sensitivity.verdict, found.specificity.verdict) == ("better", "worse")
    assert (found.specificity.only_model, found.specificity.only_baseline) == (0, 8)


def test_detection_without_disagreement_or_without_cases() -> None:
    same, few = compare_detection([["", "both"], ["", "both"]], [["", "both"], ["prediction", "both"]])
    assert (same.sensitivity.p, same.sensitivity.verdict) == (1.0, "no difference shown")
    assert few.sensitivity.verdict == "too few cases to tell"
    (always,) = compare_detection([["", ""]], [["", ""]])
    assert (always.specificity.verdict, always.sensitivity.verdict) == ("no value", "no difference shown")
