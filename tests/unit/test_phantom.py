"""The demonstration's data: reproducible, in a scanner's geometry, with every label."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk

from tests.scripts import load_script


@pytest.fixture(scope="module")
def phantom() -> ModuleType:
    """``demo/phantom.py``, which belongs to no package."""
    return load_script("demo/phantom.py")


def test_a_case_depends_on_its_seed_alone(phantom: ModuleType) -> None:
    first, again, other = (phantom.make_case(np.random.default_rng([0, i])) for i in (3, 3, 4))
    np.testing.assert_array_equal(*(sitk.GetArrayFromImage(image) for image in (first[0], again[0])))
    np.testing.assert_array_equal(*(sitk.GetArrayFromImage(labels) for labels in (first[1], again[1])))
    assert first[0].GetSpacing() == again[0].GetSpacing() != other[0].GetSpacing()


@pytest.mark.parametrize("index", [0, 7, 23])
def test_a_case_is_small_anisotropic_and_has_every_label(phantom: ModuleType, index: int) -> None:
    image, labels = phantom.make_case(np.random.default_rng([0, index]))
    assert image.GetSize() == labels.GetSize()
    assert image.GetSpacing() == labels.GetSpacing()
    assert image.GetOrigin() == labels.GetOrigin()
    x, y, z = image.GetSpacing()
    assert x == y < z / 1.5
    voxels = np.bincount(sitk.GetArrayFromImage(labels).ravel(), minlength=4)
    assert len(voxels) == 4
    assert voxels[0] > voxels[1] > voxels[2] > voxels[3] > 20


def test_no_threshold_separates_the_liver(phantom: ModuleType) -> None:
    image, labels = (sitk.GetArrayFromImage(i) for i in phantom.make_case(np.random.default_rng([0, 0])))
    liver = labels == phantom.LABELS["liver"]
    best = 0.0
    for low in np.percentile(image[liver], [1, 5, 10, 20]):
        for high in np.percentile(image[liver], [80, 90, 95, 99]):
            chosen = (image >= low) & (image <= high)
            best = max(best, 2 * (chosen & liver).sum() / (chosen.sum() + liver.sum()))
    assert 0.1 < best < 0.7


def test_the_folder_is_a_raw_data_set(phantom: ModuleType, tmp_path: Path) -> None:
    assert phantom.main([str(tmp_path), "--cases", "2", "--test-cases", "1", "--seed", "5"]) == 0
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.nii.gz"))
    assert found == [
        "imagesTr/phantom_000_0000.nii.gz",
        "imagesTr/phantom_001_0000.nii.gz",
        "imagesTs/phantom_002_0000.nii.gz",
        "labelsTr/phantom_000.nii.gz",
        "labelsTr/phantom_001.nii.gz",
        "labelsTs/phantom_002.nii.gz",
    ]
    description = json.loads((tmp_path / "dataset.json").read_text())
    assert description["numTraining"] == 2
    assert description["labels"] == {"background": 0, "liver": 1, "kidneys": 2, "vessel": 3}
