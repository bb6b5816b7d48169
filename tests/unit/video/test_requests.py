"""Requests on videos: what their options say of the size of cases, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_masam.video.convert import DEFAULT_SCALING, scaling_of
from nnunetv2_masam.video.frame_map import Scaling
from nnunetv2_masam.video.masks import write_masks
from nnunetv2_masam.video.requests import CaseSize, MasksRequest


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        (CaseSize(), DEFAULT_SCALING),
        (CaseSize(size=(6, 8)), Scaling(size=(6, 8))),
        (CaseSize(longest_side=640), Scaling(longest_side=640)),
        (CaseSize(original_size=True), Scaling()),
    ],
)
def test_size_of_cases(cases, expected):
    assert scaling_of(cases) == expected


def test_inputs_of_a_model_have_its_size():
    assert scaling_of(CaseSize(), Scaling(size=(6, 8))) == Scaling(size=(6, 8))
    assert scaling_of(CaseSize(original_size=True), Scaling(size=(6, 8))) == Scaling()


def test_options_that_exclude_each_other_are_refused():
    with pytest.raises(ValueError, match="size and longest_side are both given"):
        CaseSize(size=(6, 8), longest_side=640)
    with pytest.raises(ValueError, match="frame_map and dataset are both given"):
        MasksRequest(Path("predictions"), Path("masks"), Path("map"), "18")
    with pytest.raises(ValueError, match="no frame_map and no dataset"):
        write_masks(MasksRequest(Path("predictions"), Path("masks"), None))
