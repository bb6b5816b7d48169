"""Plans of a model imported from the authors' files."""

from __future__ import annotations

import pytest

from nnunetv2_masam.sharing.authors_model import AuthorsModel, import_plans
from nnunetv2_masam.sharing.authors_tasks import TASKS


@pytest.mark.parametrize(
    ("asked", "used"),
    [(None, "SimpleITKIO"), ("NibabelIOWithReorient", "SimpleITKIO"), ("NaturalImage2DIO", "NaturalImage2DIO")],
)
def test_volumes_are_not_turned_by_the_reader(asked: str | None, used: str) -> None:
    """The authors' half turn is against the order of axes in the file, whatever the data set's own training uses."""
    description = {} if asked is None else {"overwrite_image_reader_writer": asked}
    plans = import_plans(AuthorsModel({"vit": "vit_b"}, 13), TASKS["btcv"], description, channels=1)
    assert plans["image_reader_writer"] == used
