"""Overlays for the report: one slice of one case, with the contours of the reference and of the models.

The slice is chosen first, from counts of wrong voxels by slice, with one prediction in memory at a time; then only that
slice is taken from each file. So memory is that of two label maps, however many labels and models there are.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import get_bbox_from_mask, pad_bbox
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.comparison import Comparison, Setup
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.report.figures import colours
from nnunetv2_masam.evaluation.report.svg import INK, Picture, drawing
from nnunetv2_masam.evaluation.segmentation import mask_of, spacing_of
from nnunetv2_masam.label_files import read_labels

REFERENCE_COLOUR = "#FFFFFF"
PLANES = ("axial", "coronal", "sagittal")  # by array axis (D, H, W), where the axes are those of the body


def overlay(comparison: Comparison, case: str, models: Sequence[str]) -> Picture:
    """The slice where the models' errors differ most: the image, and on it the reference and each model.

    Args:
        comparison: what was compared.
        case: which case.
        models: whose contours to draw, of their first training; those that were measured elsewhere have none.
    """
    setup, reader = comparison.setup, comparison.setup.reader
    drawn = [name for name in models if setup.models[name].values is None]
    rows = setup.cases[(setup.cases["case"] == case) & setup.cases["model"].isin(drawn)].drop_duplicates("model")
    files = rows.set_index("model")["prediction"].to_dict()
    image_file, reference_file = setup.cases.loc[setup.cases["case"] == case, ["image", "reference"]].iloc[0]
    structures = setup.structures[setup.baseline]
    file = read_labels(reference_file, reader)
    reference, properties = file.labels, file.properties
    spacing_mm, flips = spacing_of(properties), upright_flips(properties)
    axis = 0 if len(spacing_mm) == 2 else int(np.argmax(spacing_mm))
    place = _choose_slice(setup, reference, files, axis)
    kept = tuple(a - (a > axis) for a in flips if a != axis)

    def cut(volume: np.ndarray) -> np.ndarray:
        return np.flip(np.take(volume, place, axis), kept)

    shape, truth = reference.shape, cut(reference)
    del reference, file
    predicted = {name: cut(read_labels(path, reader).labels) for name, path in files.items()}
    reference_masks = [mask_of(truth, part.reference_values) for part in structures]
    masks = {
        name: [mask_of(labels, part.prediction_values) for part in setup.structures[name]]
        for name, labels in predicted.items()
    }
    image = _read_image(image_file, reader)
    fits = image is not None and image.shape == shape
    background = cut(image) if image is not None and fits else truth.astype(float)
    rows, columns = _window(np.any([*reference_masks, *(m for group in masks.values() for m in group)], axis=0))
    in_plane = [spacing_mm[a] for a in range(-len(spacing_mm), 0) if len(spacing_mm) == 2 or a + 3 != axis]
    where = "" if shape[axis] == 1 else f"{_plane(properties, axis)} slice {place + 1} of {shape[axis]}"
    view = _View(rows, columns, in_plane[0] / in_plane[1], where, fits)
    return _draw_overlay(comparison, case, view, background, reference_masks, masks)


def _choose_slice(setup: Setup, reference: np.ndarray, files: Mapping[str, Path], axis: int) -> int:
    """The telling slice of a reference along an axis, for the predictions of some models."""
    counted = np.ones(reference.shape, bool)
    if (ignore_label := setup.settings.get("ignore_label")) is not None:
        counted = reference != ignore_label
    wrong = {}
    for name, path in files.items():
        prediction = read_labels(path, setup.reader).labels
        structures = setup.structures[setup.baseline], setup.structures[name]
        wrong[name] = _wrong_by_slice(reference, prediction, counted, structures, axis)
        del prediction  # before the next one is read
    return telling_slice(wrong, _present_by_slice(reference, setup.structures[setup.baseline], axis))


@dataclass(frozen=True)
class _View:
    """A window of one slice. `aspect` is the height of a voxel over its width, `where` says which slice."""

    rows: slice
    columns: slice
    aspect: float
    where: str
    on_image: bool

    def cut(self, plane: np.ndarray) -> np.ndarray:
        cut: np.ndarray = plane[self.rows, self.columns]
        return cut


def _draw_overlay(
    comparison: Comparison,
    case: str,
    view: _View,
    background: np.ndarray,
    reference_masks: Sequence[np.ndarray],
    masks: dict[str, list[np.ndarray]],
) -> Picture:
    shown = view.cut(background)
    finite = shown[np.isfinite(shown)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    height, width = shown.shape[0] * view.aspect, shown.shape[1]
    panel = 2.9
    drawn = [any(m.any() for m in found) for found in zip(reference_masks, *masks.values(), strict=True)]
    labels = ", ".join(
        part.name for part, here in zip(comparison.setup.structures[comparison.baseline], drawn, strict=True) if here
    )
    with drawing():
        figure = Figure(
            figsize=(panel * (len(masks) + 1), min(panel * height / width, 5.0) + 0.5),
            layout="constrained",
            facecolor="white",
        )
        about = ": ".join(part for part in (view.where, labels) if part)
        figure.suptitle(textwrap.fill(about, int(15 * figure.get_figwidth())), color=INK, fontsize=8)
        for i, name in enumerate([None, *masks]):
            axes = figure.add_subplot(1, len(masks) + 1, i + 1)
            axes.imshow(shown, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=view.aspect)
            if name is not None:
                for mask in reference_masks:
                    _contour(axes, view.cut(mask), REFERENCE_COLOUR, 1.6)
                for mask in masks[name]:
                    _contour(axes, view.cut(mask), colours(comparison)[name], 1.3)
            colour = INK if name is None else colours(comparison)[name]
            axes.set_title(case if name is None else name, color=colour, fontsize=8, loc="center")
            axes.set_axis_off()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return Picture(buffer.getvalue(), "image/png", _description(comparison, case, view, labels, list(masks)))


def _description(comparison: Comparison, case: str, view: _View, labels: str, models: list[str]) -> str:
    """The alternative text: which slice of what, and how good each model is in this case."""
    dice = comparison.by_case(comparison.labels[-1], "Dice").loc[case, models]
    scores = ", ".join(f"{m} (Dice {value:.3f})" if not math.isnan(value) else m for m, value in dice.items())
    under = "on the image" if view.on_image else "on the reference's labels, as its image could not be shown"
    where = f", {view.where}" if view.where else ""
    return f"{case}{where}: {labels}, {under}. Reference in white; contours of {scores or 'no model'}"


def _contour(axes: Axes, mask: np.ndarray, colour: str, width: float) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=[width])


def _wrong_by_slice(
    reference: np.ndarray,
    prediction: np.ndarray,
    counted: np.ndarray,
    structures: tuple[Sequence[Structure], Sequence[Structure]],
    axis: int,
) -> np.ndarray:
    """Wrong voxels over all structures by slice; `counted` is where voxels are judged."""
    others = tuple(a for a in range(3) if a != axis)
    wrong = np.zeros(reference.shape[axis], int)
    for ours, theirs in zip(*structures, strict=True):
        error = mask_of(reference, ours.reference_values) ^ mask_of(prediction, theirs.prediction_values)
        wrong += np.count_nonzero(error & counted, axis=others)
    return wrong


def _present_by_slice(reference: np.ndarray, structures: Sequence[Structure], axis: int) -> np.ndarray:
    others = tuple(a for a in range(3) if a != axis)
    present = (np.count_nonzero(mask_of(reference, part.reference_values), axis=others) for part in structures)
    return np.sum(list(present), axis=0)


def telling_slice(wrong: Mapping[str, np.ndarray], present: np.ndarray) -> int:
    """The slice where the models' numbers of wrong voxels differ most.

    One model, or models that agree, are shown where most is wrong; without errors, where most is to be seen.

    Args:
        wrong: wrong voxels by slice, by model.
        present: voxels of the reference's structures by slice.
    """
    counts = np.array([*wrong.values()] or [np.zeros_like(present)])
    for candidate in (counts.max(axis=0) - counts.min(axis=0), counts.max(axis=0), present):
        if candidate.any():
            return int(np.argmax(candidate))
    return len(present) // 2


def _plane(properties: dict[str, Any], axis: int) -> str:
    """The name of the planes across an array axis, where the file says how it lies in the body."""
    direction = np.array(properties.get("sitk_stuff", {}).get("direction", ()))
    if direction.size != 9:
        return ""
    points_to = int(np.argmax(np.abs(direction.reshape(3, 3)[:, 2 - axis])))
    return PLANES[2 - points_to]


def upright_flips(properties: dict[str, Any]) -> tuple[int, ...]:
    """Array axes (D, H, W) to turn around so that front and head are up and the left is on the right."""
    direction = np.array(properties.get("sitk_stuff", {}).get("direction", ()))
    if direction.size != 9:
        return ()
    axes = direction.reshape(3, 3)  # columns: where x, y, z of the array point to: left, back, head
    if not np.array_equal(np.argmax(np.abs(axes), axis=0), (0, 1, 2)):
        return ()
    left, back, head = np.diag(axes) > 0
    return tuple(axis for axis, flip in enumerate((head, not back, not left)) if flip)


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The part of a slice with something in it, with a margin of a fifth."""
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    box = get_bbox_from_mask(mask[None])[1:]
    margin = max(5, round(0.2 * max(stop - start for start, stop in box)))
    (top, bottom), (left, right) = pad_bbox(box, margin, mask.shape)
    return slice(top, bottom), slice(left, right)


def _read_image(path: Path | None, reader: type[BaseReaderWriter]) -> np.ndarray | None:
    """The first channel of a case; None if it is missing or damaged, which costs only the picture's background."""
    if path is None:
        return None
    try:
        image: np.ndarray = reader().read_images((str(path),))[0][0]
    except Exception:  # each reader has its own family of errors for a broken file
        return None
    return image
