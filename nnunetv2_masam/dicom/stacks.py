"""Order the slices of a series into stacks, each of which is one image, or give the reason why that fails.

A stack is regular: its slices are parallel, of one size, straight above each other and evenly spaced, which is all that
NIfTI can describe.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nnunetv2_masam.dicom.headers import SEPARATING, Series, Slice

# a slice may be this far from its place on the even grid, and be moved in plane by so much of a voxel
POSITION_TOLERANCE_VOX, IN_PLANE_TOLERANCE_VOX = 0.05, 0.25
SAME_POSITION_MM = 0.01
DOUBLED = "has several slices at one position, and no attribute that tells images apart"
_SAME = 1e-3  # of a cosine, or of the spacing
_LEAST_SLICES = 3  # of a plane that is not the only one of its series


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of one image along its normal, or slices that are none and why.

    Attributes:
        series: that they belong to.
        part: what tells it from others of its series, such as ``EchoNumbers=2``; empty if it is the only one.
        slices: sorted, if they are an image.
        affine: of indices (slice, row, column), in mm, LPS, if they are an image.
        note: why it is refused, or what was left out.
    """

    series: Series
    part: str
    slices: Sequence[Slice]
    affine: np.ndarray | None
    note: str = ""

    @property
    def case(self) -> str:
        """A name without patient data, the same whenever and wherever the series is read."""
        return case_name(self.series.uid, self.part)

    @property
    def grid(self) -> tuple[np.ndarray, tuple[int, int, int]]:
        """Affine and number of slices, rows, columns of a stack that is an image."""
        assert self.affine is not None
        return self.affine, (len(self.slices), *self.slices[0].size_vox)


def case_name(series_uid: str, part: str = "") -> str:
    """The name of the image of a series, or of a part of one; see :class:`Stack`."""
    return "case_" + hashlib.sha256(f"{series_uid} {part}".encode()).hexdigest()[:10]


def find_stacks(scanned: Iterable[Series]) -> Iterator[Stack]:
    """The stacks of series: by plane and size, and by echo, acquisition, … where positions are used twice."""
    for series in scanned:
        if series.problem:
            yield Stack(series, "", series.slices, None, series.problem)
            continue
        # files of other places are no copies, though they share an identifier or have none
        unique = {(piece.instance, piece.frame, piece.position_mm): piece for piece in reversed(series.slices)}
        slices = list(unique.values())[::-1]
        copies = len(series.slices) - len(slices)
        note = f"{copies} copies of files left out" if copies else ""
        planes: list[list[Slice]] = []
        for piece in slices:
            members = next((members for members in planes if _same_plane(piece, members[0])), [])
            planes += [] if members else [members]
            members.append(piece)
        for number, members in enumerate(sorted(planes, key=lambda members: min(map(_plane, members)))):
            part = f"plane={number}" if len(planes) > 1 else ""
            if members[0].is_localiser:
                yield Stack(series, part, members, None, "is a localiser")
            elif len(planes) > 1 and len(members) < _LEAST_SLICES:
                reason = f"is {len(members)} of {len(slices)} slices that differ in orientation or size: a localiser?"
                yield Stack(series, part, members, None, reason)
            else:
                for name, group in _separated(members):
                    ordered, affine, reason = in_order(group)
                    yield Stack(series, ", ".join(filter(None, (part, name))), ordered, affine, reason or note)


def _plane(piece: Slice) -> str:
    return repr((piece.is_localiser, piece.orientation, piece.size_vox, piece.spacing_mm))


def _same_plane(first: Slice, second: Slice) -> bool:
    """Whether two slices may belong to one image; scanners round orientation and spacing slice by slice."""
    numbers = [(*(piece.orientation or ()), *(piece.spacing_mm or ())) for piece in (first, second)]
    return (
        (first.is_localiser, first.size_vox) == (second.is_localiser, second.size_vox)
        and len(numbers[0]) == len(numbers[1])
        and all(math.isclose(*pair, rel_tol=_SAME, abs_tol=_SAME) for pair in zip(*numbers, strict=True))
    )


def _separated(slices: list[Slice]) -> list[tuple[str, list[Slice]]]:
    """Slices by the attributes that make regular stacks of them, else by those that leave no position used twice."""
    fault = in_order(slices)[2]
    varying = [name for name in SEPARATING if len({piece.tags.get(name) for piece in slices}) > 1]
    found = [("", slices)]
    for names in [*combinations(varying, 1), *combinations(varying, 2)] if fault else ():
        parts: dict[str, list[Slice]] = {}
        for piece in slices:
            parts.setdefault(", ".join(f"{name}={piece.tags.get(name)}" for name in names), []).append(piece)
        faults = {in_order(group)[2] for group in parts.values()}
        if min(map(len, parts.values())) == 1 or DOUBLED in faults:
            continue
        if faults == {""}:
            return list(parts.items())
        if fault == DOUBLED and len(found) == 1:
            found = list(parts.items())
    return found


def in_order(slices: Sequence[Slice]) -> tuple[Sequence[Slice], np.ndarray | None, str]:
    """Sort slices of one size, spacing and orientation along the normal.

    Returns:
        sorted slices, affine as in :class:`Stack`, and nothing; or the slices, None, and why they are no regular stack.
    """
    orientation, spacing = slices[0].orientation, slices[0].spacing_mm
    if orientation is None or any(piece.position_mm is None for piece in slices):
        return slices, None, "has no positions or orientation of slices (Image Position and Orientation (Patient))"
    if spacing is None or min(spacing) <= 0:
        return slices, None, f"has no usable Pixel Spacing (got {spacing})"
    left, lengths, right = np.linalg.svd(np.reshape(orientation, (2, 3)), full_matrices=False)
    if np.abs(lengths - 1).max() > 1e-2:
        return slices, None, f"has axes that are not perpendicular and of length 1 (got the orientation {orientation})"
    along_row, along_column = left @ right  # files round them to a few digits
    normal = np.cross(along_row, along_column)
    positions = np.array([piece.position_mm for piece in slices])
    order = np.argsort(positions @ normal, kind="stable")
    moved = positions[order] - positions[order[0]]
    if reason := _uneven(moved @ normal) or moved_in_plane(moved, normal, min(spacing)):
        return slices, None, reason
    step = moved[-1] @ normal / (len(slices) - 1) if len(slices) > 1 else slices[0].thickness_mm
    axes = [normal * step, along_column * spacing[0], along_row * spacing[1], positions[order[0]]]
    return [slices[index] for index in order], np.vstack([np.stack(axes, axis=1), [0, 0, 0, 1]]), ""


def _uneven(places_mm: np.ndarray) -> str:
    """Why slices at sorted places along the normal are not evenly spaced."""
    if len(places_mm) == 1:
        return ""
    gaps = np.diff(places_mm)
    if gaps.min() < SAME_POSITION_MM:
        return DOUBLED
    even = np.linspace(0, places_mm[-1], len(places_mm))
    if np.abs(places_mm - even).max() <= POSITION_TOLERANCE_VOX * even[1]:
        return ""
    usual = float(np.median(gaps))
    missing = np.rint(gaps / usual).astype(int) - 1
    if missing.min() >= 0 and np.abs(gaps / usual - 1 - missing).max() <= 2 * POSITION_TOLERANCE_VOX:
        after = f"after slice {np.argmax(missing > 0) + 1} of {len(places_mm)}"
        return f"lacks {missing.sum()} slices, the first {after} ({gaps.max():.2f} mm to the next, not {usual:.2f} mm)"
    return f"is unevenly spaced (slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart); resample it evenly"


def moved_in_plane(moved: np.ndarray, normal: np.ndarray, voxel_mm: float) -> str:
    """Explain why slices are not straight above each other, as with a tilted gantry."""
    heights = moved @ normal
    drift = np.linalg.norm(moved - heights[:, None] * normal, axis=1)
    if drift.max() <= IN_PLANE_TOLERANCE_VOX * voxel_mm:
        return ""
    tilt = f"a gantry tilt of {math.degrees(math.atan2(drift[-1], heights[-1])):.1f} degrees"
    return f"has slices moved in plane by up to {drift.max():.1f} mm, as by {tilt}; resample it to upright slices"
