"""Comparisons of made-up numbers, without files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunetv2_masam.evaluation.comparison import Comparison, Setup, analyse
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.metrics import MetricSettings, structure_metrics
from nnunetv2_masam.evaluation.nnunet_results import Model, Run

EMPTY = np.zeros((1, 2, 2), bool)


def values(dice: float, empty: str, settings: MetricSettings) -> dict[str, Any]:
    """A record with this Dice, or the one of masks of which one or both are empty."""
    if empty:
        reference, prediction = (EMPTY if empty in (side, "both") else ~EMPTY for side in ("reference", "prediction"))
        return structure_metrics(reference, prediction, (1.0, 1.0, 1.0), settings=settings)
    record: dict[str, Any] = dict.fromkeys(settings.columns, dice)
    distances = {"HD95_mm": 10 * (1 - dice), "ASSD_mm": 3 * (1 - dice), "relative_volume_error": 1 - dice}
    volumes = {"volume_reference_ml": 2.0, "volume_prediction_ml": 2 * dice, "volume_difference_ml": 2 * dice - 2}
    record |= {name: value for name, value in distances.items() if name in record} | volumes
    return record | {"in_reference": True, "in_prediction": True}


@pytest.fixture
def made_up() -> Callable[..., Comparison]:
    def make(
        labels: Sequence[str] = ("kidney", "liver"),
        models: Sequence[str] = ("A", "B"),
        cases: int = 8,
        *,
        dice: Callable[[int, int, int], float] | None = None,
        empty: Callable[[int, int, int], str] = lambda model, case, label: "",
        optional: tuple[str, ...] = (),
        groups: int = 0,
        folds: int = 4,
        runs: int = 1,
        reader: Any = SimpleITKIO,
    ) -> Comparison:
        """`dice` and `empty` by the places of model, case and label."""
        random = np.random.default_rng(0)
        table = (
            0.8 + 0.03 * np.arange(len(models))[:, None, None] + 0.1 * random.random((len(models), cases, len(labels)))
        )
        settings = MetricSettings(optional)
        structures = tuple(Structure(name, str(i + 1), (i + 1,), (i + 1,)) for i, name in enumerate(labels))
        rows = [
            {
                **{"model": model, "run": run, "case": f"case_{c:02d}", "label": label},
                **{"fold": c % folds if folds else -1, "group": f"site {c % groups}" if groups else ""},
                **values(
                    (float(table[m, c, k]) if dice is None else dice(m, c, k)) + 0.01 * run, empty(m, c, k), settings
                ),
            }
            for m, model in enumerate(models)
            for run in range(runs)
            for c in range(cases)
            for k, label in enumerate(labels)
        ]
        measured = pd.DataFrame(rows)
        files = measured[["model", "run", "case", "fold", "group"]].drop_duplicates()
        setup = Setup(
            title=f"Made up: {cases} cases",
            models={model: Model(model, (Run(Path("models") / str(i)),)) for i, model in enumerate(models)},
            cases=files.assign(prediction=Path("f"), reference=Path("r"), image=None),
            structures=dict.fromkeys(models, structures),
            reader=reader,
            settings={
                "metrics": list(settings.metrics),
                "definitions": settings.definitions(),
                "nsd_tolerance_mm": dict.fromkeys(labels, 2.0),
                "seed": 0,
                "versions": {"numpy": "0"},
            },
        )
        return analyse(measured, setup)

    return make
