"""Overlays for the report: one slice of one case, with the contours of the reference and of the models."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import get_bbox_from_mask, pad_bbox
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.compute import mask_of, read_segmentation, spacing_of
from nnunetv2_masam.evaluation.report.figures import colours
from nnunetv2_masam.evaluation.report.svg import INK, Picture

REFERENCE_COLOUR = "#FFFFFF"


def overlay(comparison: Comparison, case: str, models: Sequence[str], images: Path | None) -> Picture:
    """The slice where the models' errors differ most: the image, and on it the reference and each model.

    Args:
        comparison: what was compared.
        case: which case.
        models: whose contours to draw.
        images: folder with ``case_0000`` images; without it the reference's labels are the background.
    """
    reader = comparison.reader
    reference, properties = read_segmentation(comparison.lineup.references[case], reader)
    flips = upright_flips(properties)
    reference = np.flip(reference, flips)
    by_name = {model.name: model for model in comparison.lineup.models}
    predictions = {
        name: np.flip(read_segmentation(by_name[name].cases[case].path, reader)[0], flips) for name in models
    }
    spacing_mm = spacing_of(properties)
    reference_masks = [mask_of(reference, part.reference_values) for part in comparison.structures]
    masks = {
        name: [mask_of(labels, part.prediction_values) for part in comparison.structures_of[name]]
        for name, labels in predictions.items()
    }
    axis, place = telling_slice(reference_masks, masks, spacing_mm)
    image = _read_image(images, case, comparison.file_ending, reader)
    if image is None or image.shape != reference.shape:
        background = reference.astype(float)
    else:
        background = np.flip(image, flips)
    union = np.any([*reference_masks, *(mask for group in masks.values() for mask in group)], axis=0)
    rows, columns = _window(np.take(union, place, axis), background.shape, axis)
    in_plane = [spacing_mm[a] for a in range(-len(spacing_mm), 0) if len(spacing_mm) == 2 or a + 3 != axis]
    view = _View(axis, place, rows, columns, in_plane[0] / in_plane[1])
    return _draw_overlay(comparison, case, view, background, reference_masks, masks)


@dataclass(frozen=True)
class _View:
    """A window of one slice. `aspect` is the height of a voxel over its width."""

    axis: int
    place: int
    rows: slice
    columns: slice
    aspect: float

    def cut(self, volume: np.ndarray) -> np.ndarray:
        cut: np.ndarray = np.take(volume, self.place, self.axis)[self.rows, self.columns]
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
    low, high = np.percentile(shown, (0.5, 99.5))
    height, width = shown.shape[0] * view.aspect, shown.shape[1]
    panel = 2.9
    figure = Figure(figsize=(panel * (len(masks) + 1), min(panel * height / width, 5.0) + 0.3), layout="constrained")
    for i, name in enumerate([None, *masks]):
        axes = figure.add_subplot(1, len(masks) + 1, i + 1)
        axes.imshow(shown, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=view.aspect)
        if name is not None:
            for mask in reference_masks:
                _contour(axes, view.cut(mask), REFERENCE_COLOUR, 1.6)
            for mask in masks[name]:
                _contour(axes, view.cut(mask), colours(comparison)[name], 1.3)
        colour = INK if name is None else colours(comparison)[name]
        axes.set_title(case if name is None else name, color=colour, fontsize=8)
        axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return Picture(buffer.getvalue(), "image/png", f"{case}: image, reference (white) and contours")


def _contour(axes: Axes, mask: np.ndarray, colour: str, width: float) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=[width])


def telling_slice(
    reference: Sequence[np.ndarray], masks: dict[str, list[np.ndarray]], spacing_mm: Sequence[float]
) -> tuple[int, int]:
    """Across the axis of the coarsest spacing, the slice where the models' wrong voxels differ most.

    One model, or models that agree, are shown where most is wrong; without errors, where most is to be seen.
    """
    axis = 0 if len(spacing_mm) == 2 else int(np.argmax(spacing_mm))
    others = tuple(a for a in range(3) if a != axis)
    wrong = [
        np.sum([(mask ^ truth).sum(axis=others) for mask, truth in zip(group, reference, strict=True)], axis=0)
        for group in masks.values()
    ]
    spread = np.max(wrong, axis=0) - np.min(wrong, axis=0)
    for candidate in (
        spread,
        np.max(wrong, axis=0),
        np.sum([truth.sum(axis=others) for truth in reference], axis=0),
    ):
        if candidate.any():
            return axis, int(np.argmax(candidate))
    return axis, reference[0].shape[axis] // 2


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


def _window(mask: np.ndarray, shape: Sequence[int], axis: int) -> tuple[slice, slice]:
    """The part of a slice with something in it, with a margin of a fifth."""
    plane = [size for a, size in enumerate(shape) if a != axis]
    if not mask.any():
        return slice(0, plane[0]), slice(0, plane[1])
    box = get_bbox_from_mask(mask[None])[1:]
    margin = max(5, round(0.2 * max(stop - start for start, stop in box)))
    (top, bottom), (left, right) = pad_bbox(box, margin, tuple(plane))
    return slice(top, bottom), slice(left, right)


def _read_image(folder: Path | None, case: str, file_ending: str, reader: type[BaseReaderWriter]) -> np.ndarray | None:
    path = None if folder is None else folder / f"{case}_0000{file_ending}"
    if path is None or not path.is_file():
        return None
    image: np.ndarray = reader().read_images((str(path),))[0][0]
    return image
