"""A comparison of recorded values: same cases everywhere, groups, rankings, and what prompts keep apart."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from nnunetv2_masam.evaluation.analysis import analyse
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.lineup import LineUp
from nnunetv2_masam.evaluation.measure import Measured
from nnunetv2_masam.evaluation.metrics import METRICS
from nnunetv2_masam.evaluation.prompted import Prompt
from nnunetv2_masam.evaluation.results import Model, PredictedCase
from nnunetv2_masam.evaluation.scores import AVERAGE

CASES = tuple(f"case_{i:02}" for i in range(20))
STRUCTURES = (Structure("liver", "1", (1,), (1,)), Structure("cyst", "2", (2,), (2,)))


def record(dice: float, empty: str = "") -> dict[str, float | str]:
    distance = math.nan if math.isnan(dice) else 10 * (1 - dice)
    values = {metric: distance if metric.endswith("_mm") else dice for metric in METRICS}
    return {**values, "volume_reference_ml": 1.0, "volume_prediction_ml": 1.0, "empty": empty}


def comparison(gains: dict[str, float], prompted: tuple[str, ...] = ()) -> Comparison:
    """Models with a gain over a common base; the first invents a cyst in 8 of 10 cases that have none."""
    base = np.random.default_rng(0).normal(0.7, 0.05, len(CASES))
    models, measured = [], []
    for place, (name, gain) in enumerate(gains.items()):
        cases = {case: PredictedCase(case, i % 5, Path(case)) for i, case in enumerate(CASES)}
        models.append(Model(name, Path(name), cases, prompt=Prompt("reference") if name in prompted else None))
        for i, case in enumerate(CASES):
            cyst = record(float(base[i] + gain))
            if i < 10:
                cyst = record(0.0, "reference") if place == 0 and i < 8 else record(math.nan, "both")
            liver = record(float(base[i] + gain + 0.001 * (i % 3)))
            measured.append(Measured(name, case, {"liver": liver, "cyst": cyst}))
    groups = {case: "north" if i < 12 else "south" for i, case in enumerate(CASES)}
    lineup = LineUp(tuple(models), CASES, {case: Path(case) for case in CASES}, groups=groups)
    return analyse(
        lineup,
        measured,
        dict.fromkeys(gains, STRUCTURES),
        title="test",
        baseline=next(iter(gains)),
        settings={},
        reader=object,  # type: ignore[arg-type]
        file_ending=".nii.gz",
    )


def test_means_rank_the_models_over_the_same_cases() -> None:
    """The baseline outlines slightly better and raises false alarms: its mean must be the lower one."""
    found = comparison({"alarms": 0.01, "right": 0.0})
    summaries = {model: found.summaries[model]["cyst"]["Dice"] for model in found.model_names}
    assert {summary.n for summary in summaries.values()} == {20}
    difference = found.differences["right"]["cyst"]["Dice"]
    assert difference.mean == pytest.approx(summaries["right"].mean - summaries["alarms"].mean)
    assert difference.mean == pytest.approx((8 - 10 * 0.01) / 20)
    assert found.differences["right"]["liver"]["Dice"].verdict == "worse"
    assert found.differences["right"]["liver"]["HD95_mm"].verdict == "worse"
    # nnU-Net's mean leaves out the cases in which both masks are empty
    assert found.foreground_mean("alarms", "Dice") < found.foreground_mean("right", "Dice")
    detection = found.detections["alarms"]["cyst"]
    assert (detection.absent, detection.false_alarms, detection.sensitivity) == (10, 8, 1.0)
    assert found.detection_differences["right"]["cyst"].specificity.verdict == "better"


def test_groups_have_their_own_means_and_differences() -> None:
    found = comparison({"alarms": 0.01, "right": 0.0})
    assert {name: len(group.cases) for name, group in found.groups.items()} == {"north": 12, "south": 8}
    north, south = (found.groups[name].differences["right"]["cyst"]["Dice"] for name in ("north", "south"))
    assert north.mean == pytest.approx((8 - 2 * 0.01) / 12)
    assert south.mean == pytest.approx(-0.01)
    assert found.groups["south"].summaries["right"][AVERAGE]["Dice"].n == 8


def test_rankings_need_three_models_and_leave_prompted_ones_out() -> None:
    assert comparison({"a": 0.0, "b": 0.1}).rankings == {}
    found = comparison({"a": 0.0, "b": 0.1, "c": 0.05, "boxed": 0.2}, prompted=("boxed",))
    ranking = found.rankings["liver"]["HD95_mm"]
    assert [row.model for row in ranking.models] == ["b", "c", "a"]
    assert [row.beats for row in ranking.models] == [2, 1, 0]
    assert set(found.rankings) == {"liver", "cyst", AVERAGE}
    assert set(found.differences) == {"b", "c"}
    assert set(found.detection_differences) == {"b", "c"}


def test_the_fold_level_stands_beside_the_cases() -> None:
    pair = comparison({"a": 0.0, "b": 0.1}).differences["b"]["liver"]["Dice"]
    assert pair.fold_level is not None
    assert (pair.fold_level.folds, pair.fold_level.mean) == (5, pytest.approx(pair.mean))
