"""Plans of a model imported from the authors' files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from nnunetv2_masam.sharing.authors_checkpoint import AuthorsModel
from nnunetv2_masam.sharing.authors_model import ImportRequest, import_authors_model, import_plans
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


@pytest.mark.parametrize("window", [(250.0, -200.0), (1.0, 1.0), (math.nan, 250.0), (-200.0, math.inf)])
def test_windows_that_map_nothing_to_0_and_1(tmp_path: Path, window: tuple[float, float]) -> None:
    """Refused before any file is read."""
    files = (tmp_path / "epoch_9.pth", tmp_path / "sam.pth", tmp_path / "dataset.json")
    request = ImportRequest(*files, task="btcv", output=tmp_path / "out", window=window)
    with pytest.raises(ValueError, match=r"--window: got .*, expected two finite intensities, the lower one first"):
        import_authors_model(request)
    assert not request.output.exists()


def test_tasks_of_python_users(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({}))
    files = (tmp_path / "epoch_9.pth", tmp_path / "sam.pth", tmp_path / "dataset.json")
    with pytest.raises(ValueError, match="--task: got 'BTCV', expected one of btcv"):
        import_authors_model(ImportRequest(*files, task="BTCV", output=tmp_path / "out"))
