"""Which slice is shown, and which way up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunetv2_masam.evaluation.overlays import telling_slice, upright_flips
from nnunetv2_masam.evaluation.segmentation import read_segmentation, spacing_of


@pytest.mark.parametrize(
    ("direction", "flips"),
    [
        ((1, 0, 0, 0, 1, 0, 0, 0, 1), (0,)),  # left, back, head: only head must come to the top
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), (0, 1, 2)),  # right, front, head, as most NIfTI files have it
        ((1, 0, 0, 0, 1, 0, 0, 0, -1), ()),
        ((0, 1, 0, 1, 0, 0, 0, 0, 1), ()),  # other planes: shown as stored
    ],
)
def test_front_and_head_are_up(direction: tuple[float, ...], flips: tuple[int, ...]) -> None:
    assert upright_flips({"sitk_stuff": {"direction": direction}}) == flips


def test_readers_without_a_direction_are_shown_as_stored() -> None:
    assert upright_flips({"spacing": (1, 1, 1)}) == ()


def test_slice_is_where_errors_differ_most() -> None:
    present = np.array([0, 16, 16, 17, 16, 0])
    good, bad = np.array([0, 16, 0, 0, 0, 0]), np.array([0, 16, 0, 8, 0, 0])
    assert telling_slice({"A": good, "B": bad}, present) == 3
    assert telling_slice({"A": good}, present) == 1
    assert telling_slice({"A": good, "B": good}, present) == 1
    assert telling_slice({"A": 0 * good}, present) == 3
    assert telling_slice({}, 0 * present) == 3


def test_spacing_of_two_and_three_dimensions(tmp_path: Path) -> None:
    for shape, spacing_xyz in (((4, 5, 6), (0.5, 1.0, 2.5)), ((5, 6), (0.5, 1.0))):
        image = sitk.GetImageFromArray(np.zeros(shape, np.uint8))
        image.SetSpacing(spacing_xyz)
        sitk.WriteImage(image, str(tmp_path / "seg.nii.gz"))
        labels, properties = read_segmentation(tmp_path / "seg.nii.gz", SimpleITKIO)
        assert labels.ndim == 3
        assert spacing_of(properties) == pytest.approx(spacing_xyz[::-1])
