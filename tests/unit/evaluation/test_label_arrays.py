"""All numbers of all structures at once, compared with recorded values, and the refusals."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnunetv2_masam.evaluation.label_arrays import measure_labels
from nnunetv2_masam.evaluation.metrics import OPTIONS, SURFACES_IN_WORDS, MetricSettings
from tests.unit.evaluation.label_arrays import Case, Label, cases, labels, real_cases

# of `structure_metrics` of version 0.1, which used the package surface-distance and distance transforms
RECORDED = json.loads((Path(__file__).parent / "recorded_values.json").read_text("utf-8"))
FIRST = ("sensitivity", "precision", "volume_error", "boundary_iou", "lesions")
FLAGS = ("in_reference", "in_prediction")
MADE_UP, REAL = cases(), real_cases()


def measured(case: Case, **definitions: object) -> list[dict[str, float | bool | str]]:
    return measure_labels(*case, MetricSettings(**definitions))  # type: ignore[arg-type]


def empty(row: dict[str, float | bool | str]) -> str:
    """Which of the masks are empty."""
    words = {(True, True): "", (False, True): "reference", (True, False): "prediction", (False, False): "both"}
    return words[bool(row["in_reference"]), bool(row["in_prediction"])]


def numbers_of(row: dict[str, float | bool | str]) -> dict[str, float | bool | str]:
    return {name: value for name, value in row.items() if name not in ("label", "empty", *FLAGS)}


@pytest.mark.parametrize("surface", SURFACES_IN_WORDS)
@pytest.mark.parametrize("name", RECORDED)
def test_values_equal_the_recorded_ones(name: str, surface: str) -> None:
    if name not in MADE_UP | REAL:
        pytest.skip("the data are not here")
    other = {"voxels": "mesh", "mesh": "voxels"}[surface]
    rows = measured((MADE_UP | REAL)[name], optional=FIRST, distance_surface=surface, nsd_surface=other)
    assert len(rows) == len(RECORDED[name][surface])
    for row, recorded in zip(rows, RECORDED[name][surface], strict=True):
        assert (row["label"], empty(row)) == (recorded["label"], recorded["empty"])
        assert numbers_of(row) == pytest.approx(numbers_of(recorded), rel=1e-12, abs=1e-12, nan_ok=True)


def test_the_record_has_every_made_up_case() -> None:
    assert MADE_UP.keys() <= RECORDED.keys()
    kinds = {row["empty"] for case in RECORDED.values() for row in case["voxels"]}
    assert kinds == {"", "reference", "prediction", "both"}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint32])
def test_other_label_values_and_types_change_nothing(dtype: type) -> None:
    case = MADE_UP["isotropic"]
    far = {1: 40, 2: 3, 3: 200, 4: 7} if np.dtype(dtype).kind == "u" else {1: -5, 2: 0, 3: 120, 4: 7}
    background = 1
    arrays = [np.full(case.reference.shape, background, dtype) for _ in range(2)]
    for array, source in zip(arrays, case[:2], strict=True):
        for value, other in far.items():
            array[source == value] = other
    renamed = case._replace(
        reference=arrays[0],
        prediction=arrays[1],
        structures=tuple(Label(str(value), (other,), (other,)) for value, other in far.items()),
    )
    np.testing.assert_equal(measured(renamed), measured(case))


def test_arrays_are_left_as_they_are() -> None:
    case = MADE_UP["regions, ignore label"]
    before = case.reference.copy(), case.prediction.copy()
    measured(case, optional=OPTIONS)
    np.testing.assert_array_equal(case.reference, before[0])
    np.testing.assert_array_equal(case.prediction, before[1])


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(("reference", "prediction"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_every_metric_of_empty_masks(reference: int, prediction: int, dimensions: int) -> None:
    """Warnings are errors here, NumPy's included."""
    arrays = [np.zeros((1 if dimensions == 2 else 4, 6, 7), np.uint8) for _ in range(2)]
    for array, filled in zip(arrays, (reference, prediction), strict=True):
        array[-1:, 2:4, 3:6] = filled
    spacing_mm = (3.0, 1.0, 2.0)[-dimensions:]
    with np.errstate(all="raise"):
        for surface in SURFACES_IN_WORDS:
            (row,) = measured(
                Case(*arrays, labels(1), spacing_mm, (1.0,)),
                optional=OPTIONS,
                distance_surface=surface,
                nsd_surface=surface,
                lesion_rule="brats-met",
            )
            diagonal = float(np.linalg.norm(np.multiply(arrays[0].shape[-dimensions:], spacing_mm)))
            worst = dict.fromkeys(("Dice", "IoU", "NSD", "precision", "boundary_IoU", "clDice", "PQ", "SQ", "RQ"), 0.0)
            best = {**dict.fromkeys(worst, 1.0), "HD95_mm": 0.0, "ASSD_mm": 0.0, "lesion_Dice": 1.0}
            worst |= {"HD95_mm": diagonal, "ASSD_mm": diagonal, "lesion_Dice": 0.0, "lesion_HD95_mm": 374.0}
            kind = {(0, 0): "both", (0, 1): "reference", (1, 0): "prediction", (1, 1): ""}[reference, prediction]
            expected = best if not kind else dict.fromkeys(worst, math.nan) if kind == "both" else worst
            assert empty(row) == kind
            assert {name: row[name] for name in expected} == pytest.approx(expected, nan_ok=True)
            assert row["lesion_false_positives"] == (kind == "reference")
            for mask, filled in (("reference", reference), ("prediction", prediction)):
                assert (row[f"volume_{mask}_ml"] > 0) == bool(filled)
            assert set(row) == {"label", *FLAGS, *MetricSettings(OPTIONS).columns}


def test_nothing_to_measure() -> None:
    case = MADE_UP["isotropic"]
    assert measured(case._replace(structures=(), tolerances_mm=())) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.zeros((2, 2, 2), np.uint8)}, r"must be equal"),
        ({"reference": np.zeros((3, 3), np.uint8), "prediction": np.zeros((3, 3), np.uint8)}, r"and \(D, H, W\)"),
        ({"reference": MADE_UP["isotropic"].reference.astype(np.float32)}, r"reference has dtype float32"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, r"three positive numbers"),
        ({"spacing_mm": (1.0, 1.0)}, r"12 slices; give three"),
        ({"tolerances_mm": (1.0,)}, r"4 structures, but 1 tolerances_mm"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measured(MADE_UP["isotropic"]._replace(**change))


def test_measuring_loads_neither_torch_nor_nnunet() -> None:
    """Every measuring process would hold half a gigabyte of them."""
    code = (
        "import sys; import nnunetv2_masam.evaluation.label_arrays; "
        "print([m for m in ('torch', 'nnunetv2', 'pandas', 'skimage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
