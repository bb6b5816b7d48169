"""The demonstration's picture: unseen cases with outlines of the reference and of each model, and Dice."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from phantom import LABELS

COLOURS = {"liver": "#E69F00", "kidneys": "#56B4E9", "vessel": "#F0528C"}  # told apart with any colour vision
PANEL_INCHES = (2.1, 1.75)


def read_dice(cases_csv: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Dice by model, case and label, from the comparison's ``cases.csv``; a case's empty labels are left out."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    with cases_csv.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["Dice"]:
                found.setdefault(row["model"], {}).setdefault(row["case"], {})[row["label"]] = float(row["Dice"])
    return found


def best_and_worst(dice: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """The two cases in which the models together have the highest and the lowest mean Dice."""
    cases = sorted(next(iter(dice.values())))
    means = {case: np.mean([value for model in dice.values() for value in model[case].values()]) for case in cases}
    return [max(cases, key=lambda case: means[case]), min(cases, key=lambda case: means[case])]


def draw(
    target: Path,
    raw: Path,
    predictions: Mapping[str, Path],
    dice: Mapping[str, Mapping[str, Mapping[str, float]]],
    cases: Sequence[str],
) -> None:
    """Write the picture.

    Args:
        target: PNG file.
        raw: the dataset's folder in nnU-Net's raw layout; the cases are unseen ones.
        predictions: folder of each model's predictions.
        dice: by model, case and label.
        cases: one row each.
    """
    columns = ["image", "reference", *predictions]
    width, height = PANEL_INCHES
    figure, axes = plt.subplots(
        len(cases),
        len(columns),
        figsize=(width * len(columns), (height + 0.3) * len(cases) + 0.45),
        squeeze=False,
        layout="constrained",
    )
    for row, case in zip(axes, cases, strict=True):
        image = _read(raw / "imagesTs" / f"{case}_0000.nii.gz")
        reference = _read(raw / "labelsTs" / f"{case}.nii.gz")
        place = int(np.argmax((reference == LABELS["kidneys"]).sum(axis=(1, 2))))
        low, high = np.percentile(image, (1, 99.5))
        shown = {"image": None, "reference": reference}
        shown |= {model: _read(folder / f"{case}.nii.gz") for model, folder in predictions.items()}
        for axis, column in zip(row, columns, strict=True):
            axis.imshow(image[place], cmap="gray", vmin=low, vmax=high, interpolation="bicubic")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            labels = shown[column]
            if labels is not None:
                _outline(axis, labels[place])
            if column in dice:
                axis.set_xlabel(_dice_line(dice[column][case]), fontsize=8)
        row[0].set_xlabel(f"{case}, slice {place + 1} of {len(image)}", fontsize=8)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(column if column in predictions else column.capitalize(), fontsize=11)
    legend = [Patch(facecolor="none", edgecolor=colour, linewidth=2, label=name) for name, colour in COLOURS.items()]
    legend.append(Patch(alpha=0, label="Numbers: Dice of the whole volume"))
    figure.legend(handles=legend, loc="outside lower center", ncols=len(legend), frameon=False, fontsize=9)
    figure.savefig(target, dpi=150, metadata={"Software": None})
    plt.close(figure)


def _outline(axis: Axes, labels: np.ndarray) -> None:
    for name, colour in COLOURS.items():
        mask = labels == LABELS[name]
        if mask.any():
            axis.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=1.4)


def _dice_line(values: Mapping[str, float]) -> str:
    parts = [f"{name} {values[name]:.2f}" for name in COLOURS if name in values]
    return ",\n".join(", ".join(parts[start : start + 2]) for start in range(0, len(parts), 2))


def _read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
