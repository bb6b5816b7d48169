"""Which slice is shown, and which way up."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunetv2_masam.evaluation.measure import Measured, Protocol
from nnunetv2_masam.evaluation.pipeline import CompareCrossValidation, CompareTestSet, ModelSource, compare_models
from nnunetv2_masam.evaluation.report.overlays import overlay, telling_slice, upright_flips
from nnunetv2_masam.evaluation.segmentation import spacing_of
from nnunetv2_masam.label_files import read_labels
from tests.unit.evaluation.conftest import FakeDataset, blobs, write_volume


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


def test_voxels_under_the_ignore_label_choose_no_slice(dataset: Any) -> None:
    """Slice 8 has the most wrong voxels, nearly all of them where the reference ignores; slice 3 is what counts."""
    labels = {**dataset.dataset_json["labels"], "ignore": 3}
    dataset.dataset_json["labels"] = labels
    reference = blobs(0)
    reference[8, :, 5:] = 3
    first, second = blobs(0), blobs(0)
    first[8, :, 5:] = 1
    second[3, 3:5, 4:9] = 0
    write_volume(dataset.references / "case_0.nii.gz", reference)
    for trainer, labels in (("nnUNetTrainer", first), ("nnUNetTrainerMASAM", second)):
        dataset.write_json(dataset.model_folder(trainer) / "dataset.json", dataset.dataset_json)
        write_volume(dataset.prediction(trainer, "case_0"), labels)
        (dataset.model_folder(trainer) / "fold_0" / "validation" / "summary.json").unlink()
    models = [ModelSource(name) for name in ("nnUNetTrainer", "nnUNetTrainerMASAM")]
    comparison = compare_models(CompareCrossValidation(models=models, dataset="901", folds=[0], processes=1))
    assert "axial slice 4 of 10" in overlay(comparison, "case_0", comparison.models).alt


def test_memory_does_not_grow_with_labels_and_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak of what numpy holds, in bytes a voxel; the images that ITK reads come on top."""
    shape, peaks = (16, 160, 160), {}
    volume = np.arange(np.prod(shape)).reshape(shape)
    for labels, models in ((1, 1), (12, 4)):
        folder = tmp_path / str(labels)
        values = {"background": 0} | {f"label {i}": i for i in range(1, labels + 1)}
        for name in ("references", *map(str, range(models))):
            write_volume(folder / name / "case.nii.gz", (volume // 5000 % (labels + 1)).astype(np.uint8))
        FakeDataset.write_json(folder / "dataset.json", {"labels": values, "file_ending": ".nii.gz"})
        request = CompareTestSet(
            models=[ModelSource(str(folder / str(i))) for i in range(models)],
            references=folder / "references",
            dataset_json=folder / "dataset.json",
            processes=1,
            no_cache=True,
        )
        with mock.patch(
            "nnunetv2_masam.evaluation.pipeline.measure_all",
            lambda cases, protocols, *_: [made_up(protocols[model]) for model in cases["model"]],
        ):
            comparison = compare_models(request)
        monkeypatch.setattr("nnunetv2_masam.evaluation.report.overlays._draw", lambda *_: b"")
        tracemalloc.start()
        overlay(comparison, "case", comparison.models)
        peaks[labels] = tracemalloc.get_traced_memory()[1] / volume.size
        tracemalloc.stop()
    assert peaks[12] < peaks[1] + 4
    assert peaks[12] < 13


def made_up(protocol: Protocol) -> Measured:
    record = {**dict.fromkeys(protocol.settings.columns, 1.0), "in_reference": True, "in_prediction": True}
    return Measured({part.name: record for part in protocol.structures})


def test_spacing_of_two_and_three_dimensions(tmp_path: Path) -> None:
    for shape, spacing_xyz in (((4, 5, 6), (0.5, 1.0, 2.5)), ((5, 6), (0.5, 1.0))):
        image = sitk.GetImageFromArray(np.zeros(shape, np.uint8))
        image.SetSpacing(spacing_xyz)
        sitk.WriteImage(image, str(tmp_path / "seg.nii.gz"))
        file = read_labels(tmp_path / "seg.nii.gz", SimpleITKIO)
        assert file.labels.ndim == 3
        assert spacing_of(file.properties) == pytest.approx(spacing_xyz[::-1])
