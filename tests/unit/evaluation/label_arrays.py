"""Label arrays with every difficulty that measuring has, as inputs of tests."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

SHARED = Path(__file__).parents[4] / "shared" / "data"


class Label(NamedTuple):
    """A structure to measure."""

    name: str
    reference_values: tuple[int, ...]
    prediction_values: tuple[int, ...]


class Case(NamedTuple):
    """What `measure_labels` takes."""

    reference: np.ndarray
    prediction: np.ndarray
    structures: tuple[Label, ...]
    spacing_mm: tuple[float, ...]
    tolerances_mm: tuple[float, ...]
    ignore_label: int | None = None


def labels(*values: int) -> tuple[Label, ...]:
    return tuple(Label(str(value), (value,), (value,)) for value in values)


def boxes(seed: int, shape: tuple[int, ...], values: tuple[int, ...], each: int = 4) -> np.ndarray:
    """Boxes of each label value, later ones over earlier ones, some at the edge of the image."""
    random = np.random.default_rng(seed)
    array = np.zeros(shape, np.uint8)
    for value in values * each:
        start = [int(random.integers(0, n)) for n in shape]
        array[
            tuple(slice(s, s + 1 + int(random.integers(0, 1 + n // 3))) for s, n in zip(start, shape, strict=True))
        ] = value
    return array


def moved(reference: np.ndarray, seed: int, by: tuple[int, ...]) -> np.ndarray:
    """A prediction: the reference, moved, with one box of each label added."""
    extra = boxes(seed, reference.shape, tuple(int(value) for value in np.unique(reference)[1:]), each=1)
    return np.where(extra, extra, np.roll(reference, by, tuple(range(reference.ndim))))


def cases() -> dict[str, Case]:
    """Made-up cases: anisotropic, isotropic, regions with an ignore label, empty masks, 2D, wide tolerances."""
    volume = boxes(0, (12, 21, 24), (1, 2, 3, 4))
    prediction = moved(volume, 1, (1, 1, 2))
    regions = (
        Label("whole", (1, 2, 3), (1, 2, 3)),
        Label("core", (1, 3), (1, 3)),
        Label("other values", (2,), (4, 3)),
        Label("2", (2,), (2,)),
    )
    some = np.where(volume == 2, 0, volume), np.where(prediction == 3, 0, prediction)
    slices = boxes(2, (1, 40, 33), (1, 2, 3))
    return {
        "anisotropic": Case(volume, prediction, labels(1, 2, 3, 4), (5.0, 2.0, 0.5), (2.0, 0.4, 5.0, 2.5)),
        "isotropic": Case(volume, prediction, labels(1, 2, 3, 4), (1.0, 1.0, 1.0), (1.0, 2.0, 0.0, 3.0)),
        "regions, ignore label": Case(volume, prediction, regions, (3.0, 1.5, 1.5), (2.0, 3.0, 1.5, 4.5), 4),
        "empty masks": Case(*some, labels(2, 3, 7), (2.0, 1.0, 1.0), (2.0, 2.0, 2.0)),
        "2D": Case(slices, moved(slices, 3, (0, 2, 1)), labels(1, 2, 3), (0.7, 1.3), (2.0, 1.0, 30.0)),
        "one slice": Case(slices, moved(slices, 3, (0, 2, 1)), labels(1, 2, 3), (4.0, 0.7, 1.3), (2.0, 1.0, 5.0)),
        "wide tolerances": Case(volume, prediction, labels(1, 2, 3, 4), (0.5, 0.25, 0.25), (2.0, 3.0, 5.0, 30.0)),
        "far apart": Case(
            *(np.pad(volume, ((0, 40), (0, 0), (0, 0))), np.pad(prediction, ((40, 0), (0, 0), (0, 0)))),
            labels(1, 2),
            (1.0, 1.0, 1.0),
            (2.0, 50.0),
        ),
    }


def real_cases() -> dict[str, Case]:
    """Two hippocampi and every fifth label of the CT crop, each moved by a voxel, if the data are there."""
    import SimpleITK as sitk

    found = {}
    folder = SHARED / "Dataset004_Hippocampus" / "labelsTr"
    for path in sorted(folder.glob("*.nii.gz"))[:2]:
        array = np.rint(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))).astype(np.uint8)
        found[path.name] = Case(array, moved(array, 4, (0, 1, 1)), labels(1, 2), (1.0, 1.0, 1.0), (1.0, 1.5))
    ct = SHARED / "ct_torso" / "example_seg.nii.gz"
    if ct.is_file():
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(ct)))
        chosen = labels(*(int(value) for value in np.unique(array)[1::5]))
        found[ct.name] = Case(array, moved(array, 5, (1, 0, 1)), chosen, (3.0, 3.0, 3.0), (3.0,) * len(chosen))
    return found
