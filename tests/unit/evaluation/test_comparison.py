"""A comparison of measured values: same cases everywhere, groups, rankings, and what prompts keep apart."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunetv2_masam.evaluation.comparison import Comparison, Setup, analyse
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.metrics import STANDARD
from nnunetv2_masam.evaluation.nnunet_results import Model, Run
from nnunetv2_masam.evaluation.prompted import Prompt
from nnunetv2_masam.evaluation.scores import AVERAGE, foreground_mean
from tests.unit.evaluation.conftest import score_rows

CASES = 20
FOLDS = [i % 5 for i in range(CASES)]
GROUPS = ["north" if i < 12 else "south" for i in range(CASES)]
STRUCTURES = (Structure("liver", "1", (1,), (1,)), Structure("cyst", "2", (2,), (2,)))


def standard(dice: np.ndarray) -> dict[str, list[float]]:
    return {name: list(10 * (1 - dice) if name.endswith("_mm") else dice) for name in STANDARD}


def comparison(gains: dict[str, float], prompted: tuple[str, ...] = ()) -> Comparison:
    """Models with a gain over a common base; the first invents a cyst in 8 of 10 cases that have none."""
    base = np.random.default_rng(0).normal(0.7, 0.05, CASES)
    rows, cases = [], np.arange(CASES)
    for place, (name, gain) in enumerate(gains.items()):
        alarm = (cases < 8) & (place == 0)
        cyst = np.where(cases < 10, np.where(alarm, 0.0, math.nan), base + gain)
        for label, dice in (("liver", base + gain + 0.001 * (cases % 3)), ("cyst", cyst)):
            made = score_rows(name, standard(dice), label=label, folds=FOLDS, groups=GROUPS)
            for row, invented, absent in zip(made, alarm, (cases < 10) & (label == "cyst"), strict=True):
                rows.append(row | {"in_reference": not absent, "in_prediction": bool(invented) or not absent})
    values = pd.DataFrame(rows)
    models = {
        name: Model(name, (Run(Path(name)),), prompt=Prompt("reference") if name in prompted else None)
        for name in gains
    }
    files = values[["model", "run", "case", "fold", "group"]].drop_duplicates().assign(prediction=Path("p"))
    setup = Setup("test", models, files, dict.fromkeys(gains, STRUCTURES), object, {})  # type: ignore[arg-type]
    return analyse(values, setup)


def row(frame: pd.DataFrame, **keys: str) -> pd.Series:
    for name, value in keys.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_means_rank_the_models_over_the_same_cases() -> None:
    """The baseline outlines slightly better and raises false alarms: its mean must be the lower one."""
    found = comparison({"alarms": 0.01, "right": 0.0})
    cyst = {"label": "cyst", "metric": "Dice"}
    summaries = {model: row(found.summary, model=model, **cyst) for model in found.models}
    assert {summary["n"] for summary in summaries.values()} == {20}
    difference = row(found.differences, model="right", **cyst)
    assert difference["mean"] == pytest.approx(summaries["right"]["mean"] - summaries["alarms"]["mean"])
    assert difference["mean"] == pytest.approx((8 - 10 * 0.01) / 20)
    assert row(found.differences, model="right", label="liver", metric="Dice")["verdict"] == "worse"
    assert row(found.differences, model="right", label="liver", metric="HD95_mm")["verdict"] == "worse"
    # nnU-Net's mean leaves out the cases in which both masks are empty
    means = foreground_mean(found.values)["Dice"]
    assert means["alarms"] < means["right"]
    detection = row(found.detection, model="alarms", label="cyst")
    assert (detection["absent"], detection["false_alarms"], detection["sensitivity"]) == (10, 8, 1.0)
    tested = row(found.detection_differences, model="right", label="cyst", rate="specificity")
    assert tested["verdict"] == "better"


def test_groups_have_their_own_means_and_differences() -> None:
    found = comparison({"alarms": 0.01, "right": 0.0})
    cyst = {"model": "right", "label": "cyst", "metric": "Dice"}
    north, south = (row(found.group_differences, group=name, **cyst) for name in ("north", "south"))
    assert (north["n"], north["mean"]) == (12, pytest.approx((8 - 2 * 0.01) / 12))
    assert (south["n"], south["mean"]) == (8, pytest.approx(-0.01))
    assert row(found.group_summary, group="south", model="right", label=AVERAGE, metric="Dice")["n"] == 8


def test_rankings_need_three_models_and_leave_prompted_ones_out() -> None:
    assert comparison({"a": 0.0, "b": 0.1}).ranking.empty
    found = comparison({"a": 0.0, "b": 0.1, "c": 0.05, "boxed": 0.2}, prompted=("boxed",))
    ranking = found.ranking.query("label == 'liver' and metric == 'HD95_mm'")
    assert ranking["model"].tolist() == ["b", "c", "a"]
    assert ranking["beats"].tolist() == [2, 1, 0]
    assert set(found.ranking["label"]) == {"liver", "cyst", AVERAGE}
    assert set(found.differences["model"]) == {"b", "c"}
    assert set(found.detection_differences["model"]) == {"b", "c"}


def test_the_fold_level_stands_beside_the_cases() -> None:
    found = comparison({"a": 0.0, "b": 0.1}).differences
    pair = row(found, model="b", label="liver", metric="Dice")
    assert (pair["folds"], pair["fold_mean"]) == (5, pytest.approx(pair["mean"]))
