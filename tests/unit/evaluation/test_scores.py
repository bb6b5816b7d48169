"""One rule for empty masks, the same cases for all models, and whether structures are found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nnunetv2_masam.evaluation.detection import detection, detection_differences
from nnunetv2_masam.evaluation.scores import AVERAGE, over_runs, scores

NAN = math.nan
NOTHING = {"Dice": NAN, "HD95_mm": NAN, "sensitivity": NAN, "in_reference": False, "in_prediction": False}
ALARM = {"Dice": 0.0, "HD95_mm": 90.0, "sensitivity": NAN, "in_reference": False, "in_prediction": True}
MISSED = {"Dice": 0.0, "HD95_mm": 90.0, "sensitivity": 0.0, "in_reference": True, "in_prediction": False}
KINDS = {"both": NOTHING, "reference": ALARM, "prediction": MISSED}


def outlined(dice: float) -> dict[str, Any]:
    return {"Dice": dice, "HD95_mm": 3.0, "sensitivity": dice, "in_reference": True, "in_prediction": True}


def values(**models: dict[str, list[dict[str, Any]]]) -> pd.DataFrame:
    """Models → labels → a record per case."""
    keys = {"run": 0, "fold": -1, "group": ""}
    return pd.DataFrame(
        {"model": model, "case": str(case), "label": label, **keys, **record}
        for model, labels in models.items()
        for label, rows in labels.items()
        for case, record in enumerate(rows)
    )


def of(frame: pd.DataFrame, model: str, label: str, metric: str) -> list[float]:
    return frame.loc[(frame["model"] == model) & (frame["label"] == label), metric].tolist()


def test_finding_nothing_where_nothing_is_counts_as_the_best_in_every_model() -> None:
    found = scores(
        values(
            right={"cyst": [NOTHING, NOTHING, outlined(0.8), MISSED]},
            alarms={"cyst": [ALARM, NOTHING, outlined(0.9), outlined(0.5)]},
        )
    )
    assert of(found, "right", "cyst", "Dice") == [1, 1, 0.8, 0]
    assert of(found, "alarms", "cyst", "Dice") == [0, 1, 0.9, 0.5]
    assert of(found, "right", "cyst", "HD95_mm") == [0, 0, 3, 90]
    # what divides by the reference has no score there in any model
    for model, last in (("right", 0.0), ("alarms", 0.5)):
        sensitivity = of(found, model, "cyst", "sensitivity")
        assert np.isnan(sensitivity[:2]).all()
        assert sensitivity[3] == last


def test_a_label_that_is_nowhere_has_no_score_and_no_share_in_the_average() -> None:
    found = scores(
        values(
            a={"cyst": [NOTHING, NOTHING], "liver": [outlined(0.8), outlined(0.6)]},
            b={"cyst": [NOTHING, NOTHING], "liver": [outlined(0.7), MISSED]},
        )
    )
    assert np.isnan(of(found, "a", "cyst", "Dice")).all()
    assert of(found, "a", AVERAGE, "Dice") == [0.8, 0.6]
    assert of(found, "b", AVERAGE, "Dice") == [0.7, 0.0]


def test_the_average_is_over_the_same_structures_in_every_model() -> None:
    found = scores(
        values(
            right={"cyst": [NOTHING, outlined(0.4)], "liver": [outlined(0.8), outlined(0.6)]},
            alarms={"cyst": [ALARM, outlined(0.4)], "liver": [outlined(0.8), outlined(0.6)]},
        )
    )
    assert of(found, "right", AVERAGE, "Dice") == pytest.approx([0.9, 0.5])
    assert of(found, "alarms", AVERAGE, "Dice") == pytest.approx([0.4, 0.5])
    assert list(found["label"].unique()) == ["cyst", "liver", AVERAGE]


def test_a_metric_that_one_model_lacks_takes_no_case_from_the_others() -> None:
    unknown = outlined(0.7) | {"HD95_mm": NAN}
    found = scores(values(ours={"cyst": [outlined(0.8), NOTHING]}, table={"cyst": [unknown, NOTHING]}))
    assert of(found, "ours", "cyst", "HD95_mm") == [3, 0]
    assert np.isnan(of(found, "table", "cyst", "HD95_mm")).all()
    assert of(found, "table", "cyst", "Dice") == [0.7, 1]
    assert AVERAGE not in set(found["label"])


def test_trainings_of_a_model_are_averaged_by_case() -> None:
    first = values(a={"cyst": [outlined(0.8), NOTHING]})
    second = values(a={"cyst": [outlined(0.6), ALARM]}).assign(run=1)
    found = over_runs(scores(pd.concat([first, second], ignore_index=True)))
    assert found["Dice"].tolist() == pytest.approx([0.7, 0.5])


def kinds(*names: str) -> list[dict[str, Any]]:
    return [KINDS.get(name) or outlined(0.5) for name in names]


def test_detection_by_hand() -> None:
    rows = kinds(*["both"] * 6, *["reference"] * 2, *[""] * 9, "prediction")
    (found,) = detection(values(a={"cyst": rows})).to_dict("records")
    assert (found["present"], found["found"], found["absent"], found["false_alarms"]) == (10, 9, 8, 2)
    assert (found["sensitivity"], found["specificity"]) == (0.9, 0.75)
    wilson = stats.binomtest(9, 10).proportion_ci(method="wilson")
    assert (found["sensitivity_low"], found["sensitivity_high"]) == pytest.approx((wilson.low, wilson.high))
    (always,) = detection(values(a={"cyst": kinds("", "")})).to_dict("records")
    assert math.isnan(always["specificity"])
    assert math.isnan(always["specificity_low"])


def mcnemar(model: dict[str, list[str]], baseline: dict[str, list[str]]) -> dict[tuple[str, str], dict[str, Any]]:
    named = {
        name: {label: kinds(*rows) for label, rows in labels.items()}
        for name, labels in (("b", baseline), ("m", model))
    }
    rows = detection_differences(values(**named), "b").to_dict("records")
    return {(row["label"], row["rate"]): row for row in rows}


def test_mcnemar_on_found_and_on_invented_structures_apart() -> None:
    model = ["prediction"] * 1 + [""] * 11 + ["reference"] * 8
    baseline = [""] * 1 + ["prediction"] * 8 + [""] * 3 + ["both"] * 8
    found = mcnemar({"cyst": model}, {"cyst": baseline})
    sensitivity, specificity = found["cyst", "sensitivity"], found["cyst", "specificity"]
    assert (sensitivity["only_model"], sensitivity["only_baseline"]) == (8, 1)
    assert sensitivity["p"] == pytest.approx(2 * (1 + 9) / 2**9)
    assert (sensitivity["verdict"], specificity["verdict"]) == ("better", "worse")
    assert (specificity["only_model"], specificity["only_baseline"]) == (0, 8)


def test_detection_without_disagreement_or_without_cases() -> None:
    found = mcnemar({"same": ["", "both"], "few": ["", "both"]}, {"same": ["", "both"], "few": ["prediction", "both"]})
    assert (found["same", "sensitivity"]["p"], found["same", "sensitivity"]["verdict"]) == (1.0, "no difference shown")
    assert found["few", "sensitivity"]["verdict"] == "too few cases to tell"
    always = mcnemar({"cyst": ["", ""]}, {"cyst": ["", ""]})
    assert always["cyst", "specificity"]["verdict"] == "no value"
    assert always["cyst", "sensitivity"]["verdict"] == "no difference shown"
