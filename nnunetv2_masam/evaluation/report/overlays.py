"""Overlays for the report: one slice of one case, with the contours of the reference and of the models.

The slice is chosen first, from counts of wrong voxels by slice, with one prediction in memory at a time; then only that
slice is taken from each file. So memory is that of two label maps, however many labels and models there are.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import get_bbox_from_mask, pad_bbox
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.comparison import Comparison, Setup
from nnunetv2_masam.evaluation.report.figures import colours
from nnunetv2_masam.evaluation.report.svg import INK, Picture, drawing
from nnunetv2_masam.evaluation.segmentation import mask_of, spacing_of
from nnunetv2_masam.label_files import read_labels

REFERENCE_COLOUR, PANEL_IN = "#FFFFFF", 2.9
PLANES = ("axial", "coronal", "sagittal")  # by array axis (D, H, W), where the axes are those of the body


def overlay(comparison: Comparison, case: str, models: Sequence[str]) -> Picture:
    """The slice where the models' errors differ most: the image, and on it the reference and each model.

    Args:
        comparison: what was compared.
        case: which case.
        models: whose contours to draw, of their first training; those that were measured elsewhere have none.
    """
    setup = comparison.setup
    here = setup.cases[setup.cases["case"] == case].drop_duplicates("model").set_index("model")
    files = here["prediction"].to_dict()
    files = {name: files[name] for name in models if setup.models[name].values is None}
    reference = read_labels(here["reference"].iloc[0], setup.reader)
    shape, spacing_mm = reference.labels.shape, spacing_of(reference.properties)
    axis = 0 if len(spacing_mm) == 2 else int(np.argmax(spacing_mm))
    place = _choose_slice(setup, reference.labels, files, axis)
    flips = tuple(a - (a > axis) for a in upright_flips(reference.properties) if a != axis)
    where = "" if shape[axis] == 1 else f"{_plane(reference.properties, axis)} slice {place + 1} of {shape[axis]}"

    def cut(volume: np.ndarray) -> np.ndarray:
        return np.flip(np.take(volume, place, axis), flips)

    truth = cut(reference.labels)
    del reference
    parts = setup.structures[setup.baseline]
    masks: dict[str | None, list[np.ndarray]] = {None: [mask_of(truth, part.reference_values) for part in parts]}
    for name, file in files.items():
        labels = cut(read_labels(file, setup.reader).labels)
        masks[name] = [mask_of(labels, part.prediction_values) for part in setup.structures[name]]
    image = _read_image(here["image"].iloc[0], setup.reader)
    on_image = image is not None and image.shape == shape
    background = cut(image) if image is not None and on_image else truth.astype(float)
    window = _window(np.any([mask for found in masks.values() for mask in found], axis=0))
    masks = {name: [mask[window] for mask in found] for name, found in masks.items()}
    in_plane = [size for a, size in enumerate(spacing_mm, start=3 - len(spacing_mm)) if a != axis]
    drawn = [part.name for part, *found in zip(parts, *masks.values(), strict=True) if np.any(found)]
    about = ": ".join(text for text in (where, ", ".join(drawn)) if text)
    picture = _draw(comparison, case, about, background[window], in_plane[0] / in_plane[1], masks)
    dice = comparison.by_case(comparison.labels[-1], "Dice").loc[case, list(files)]
    scores = ", ".join(f"{m} (Dice {value:.3f})" if not math.isnan(value) else m for m, value in dice.items())
    under = "on the image" if on_image else "on the reference's labels, as its image could not be shown"
    where = f", {where}" if where else ""
    alt = f"{case}{where}: {', '.join(drawn)}, {under}. Reference in white; contours of {scores or 'no model'}"
    return Picture(picture, "image/png", alt)


def _choose_slice(setup: Setup, reference: np.ndarray, files: Mapping[str, Path], axis: int) -> int:
    """The telling slice of a reference along an axis, for the predictions of some models."""
    others, parts = tuple(a for a in range(3) if a != axis), setup.structures[setup.baseline]
    ignore_label = setup.settings.get("ignore_label")
    counted = np.ones(reference.shape, bool) if ignore_label is None else reference != ignore_label
    present, wrong = np.zeros(reference.shape[axis], int), {}
    for part in parts:
        present += np.count_nonzero(mask_of(reference, part.reference_values), axis=others)
    for name, file in files.items():
        prediction = read_labels(file, setup.reader).labels
        wrong[name] = np.zeros_like(present)
        for ours, theirs in zip(parts, setup.structures[name], strict=True):
            error = mask_of(reference, ours.reference_values) ^ mask_of(prediction, theirs.prediction_values)
            wrong[name] += np.count_nonzero(error & counted, axis=others)
        del prediction  # before the next one is read
    return telling_slice(wrong, present)


def _draw(
    comparison: Comparison,
    case: str,
    about: str,
    shown: np.ndarray,
    aspect: float,
    masks: Mapping[str | None, list[np.ndarray]],
) -> bytes:
    """A PNG with a panel of the image and one of each model; `masks` of None are the reference's."""
    finite = shown[np.isfinite(shown)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    size = PANEL_IN * len(masks), min(PANEL_IN * shown.shape[0] * aspect / shown.shape[1], 5.0) + 0.5
    colour_of = {None: INK} | colours(comparison)
    with drawing():
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        figure.suptitle(textwrap.fill(about, int(15 * size[0])), color=INK, fontsize=8)
        for i, (name, found) in enumerate(masks.items()):
            axes = figure.add_subplot(1, len(masks), i + 1)
            axes.imshow(shown, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect)
            for mask in masks[None] if name is not None else ():
                _contour(axes, mask, REFERENCE_COLOUR, 1.6)
            for mask in found if name is not None else ():
                _contour(axes, mask, colour_of[name], 1.3)
            axes.set_title(name or case, color=colour_of[name], fontsize=8, loc="center")
            axes.set_axis_off()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def _contour(axes: Axes, mask: np.ndarray, colour: str, width: float) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=[width])


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
