"""Labels are those of nnU-Net's predictor: for its trainers in 2D and 3D, regions, cascades, folds, any axis order."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from skimage import io

from nnunetv2_masam.predict.run import predict
from tests.nnunet import quick
from tests.unit.predict.models import LINEAR, REGIONS, request, write_image, write_model

BY_TORCH = {
    "resampling_fn_probabilities": "resample_torch_fornnunet",
    "resampling_fn_probabilities_kwargs": {"is_seg": False, "force_separate_z": None},
}
MODELS = {
    "3D": {},
    "many tiles": {"patch": (8, 16, 24)},
    "image smaller than a tile": {"patch": (32, 64, 64)},
    "mirrored": {"mirror": (0, 1, 2)},
    "folds": {"folds": ("0", "1", "3")},
    "fold all": {"folds": ("all",)},
    "regions": {"labels": REGIONS},
    "two channels": {"channels": 2},
    "2D": {"patch": (32, 32), "spacing_mm": (1.0, 0.8)},
    "2D, mirrored folds": {"patch": (48, 48), "spacing_mm": (1.0, 1.0), "mirror": (0, 1), "folds": ("0", "1")},
    "no resampling": {"spacing_mm": (2.0, 1.2, 0.9)},
    "coarse slices": {"spacing_mm": (5.0, 1.0, 1.0), "patch": (4, 32, 32)},
    "coarse slices of the image": {"image_mm": (0.9, 1.2, 5.0), "spacing_mm": (2.5, 1.0, 1.0), "patch": (8, 16, 16)},
    "other axis order": {"transpose": (1, 0, 2), "spacing_mm": (1.0, 1.5, 1.0)},
    "cyclic axis order": {"transpose": (2, 0, 1), "spacing_mm": (1.2, 1.0, 0.7)},
    "coarse rows": {"transpose": (1, 0, 2), "spacing_mm": (1.0, 6.0, 1.0), "patch": (16, 4, 16)},
    "coarse columns": {"transpose": (2, 1, 0), "spacing_mm": (1.0, 1.0, 6.0), "patch": (16, 16, 4)},
    "torch": BY_TORCH,
    "torch, coarse slices": {**BY_TORCH, "spacing_mm": (5.0, 1.0, 1.0), "patch": (4, 32, 32)},
    "torch, coarse columns": {**BY_TORCH, "transpose": (2, 1, 0), "spacing_mm": (1.0, 1.0, 6.0), "patch": (16, 16, 4)},
    "never separate": {"resampling_fn_probabilities_kwargs": {**LINEAR, "force_separate_z": False}},
}


def write_images(folder: Path, channels: int = 1, spacing_xyz_mm: tuple[float, ...] = (0.9, 1.2, 2.0)) -> Path:
    for case, shape in (("a", (11, 26, 30)), ("b", (7, 23, 28))):
        for channel in range(channels):
            write_image(folder / f"{case}_{channel:04d}.nii.gz", shape, spacing_xyz_mm, seed=channel)
    return folder


def by_nnunet(
    model: Path, images: Path, output: Path, folds: tuple[str, ...] = ("0",), previous: Path | None = None
) -> None:
    """What ``nnUNetv2_predict`` does, in this process."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), folds)
    output.mkdir()
    with quick(), mock.patch("torch.set_num_threads"):  # threads that wait for each other
        predictor.predict_from_files_sequential(
            str(images), str(output), folder_with_segs_from_prev_stage=previous and str(previous)
        )


def read(folder: Path) -> dict[str, sitk.Image]:
    return {path.name: sitk.ReadImage(str(path)) for path in folder.glob("*.nii.gz")}


def assert_equal(ours: Path, theirs: Path) -> None:
    """Every file, its geometry, and all voxels but a ten thousandth."""
    ours_read, theirs_read = read(ours), read(theirs)
    assert ours_read.keys() == theirs_read.keys() != set()
    assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}
    for name, image in ours_read.items():
        expected = theirs_read[name]
        assert image.GetPixelIDTypeAsString() == expected.GetPixelIDTypeAsString()
        for key in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(image, key)() == getattr(expected, key)()
        found, labels = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(expected)
        assert len(np.unique(labels)) > 1
        assert (found == labels).mean() >= 0.9999


@pytest.mark.parametrize("name", MODELS)
def test_equal(name, tmp_path):
    options = dict(MODELS[name])
    spacing_xyz_mm, folds = options.pop("image_mm", (0.9, 1.2, 2.0)), options.get("folds", ("0",))
    folder = write_images(tmp_path / "images", options.get("channels", 1), spacing_xyz_mm)
    model = write_model(tmp_path / "model", **options)
    assert predict(request(model, folder, tmp_path / "ours", folds)).failed == {}
    by_nnunet(model, folder, tmp_path / "theirs", folds)
    assert_equal(tmp_path / "ours", tmp_path / "theirs")


def test_photographs(tmp_path):
    """Pictures in RGB, which have no geometry."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for case in "ab":
        picture = np.kron(rng.integers(0, 255, (8, 9, 3)), np.ones((5, 5, 1))).astype(np.uint8)
        io.imsave(tmp_path / "images" / f"{case}_0000.png", picture, check_contrast=False)
    options = {"patch": (32, 32), "spacing_mm": (1.0, 1.0), "channels": 3}
    model = write_model(tmp_path / "model", reader="NaturalImage2DIO", file_ending=".png", **options)
    assert predict(request(model, tmp_path / "images", tmp_path / "ours")).failed == {}
    by_nnunet(model, tmp_path / "images", tmp_path / "theirs")
    for case in "ab":
        ours, theirs = (io.imread(tmp_path / side / f"{case}.png") for side in ("ours", "theirs"))
        assert ours.dtype == theirs.dtype
        assert len(np.unique(theirs)) > 1
        assert np.array_equal(ours, theirs)


def test_cascade(tmp_path):
    first = write_model(tmp_path / "first")
    second = write_model(tmp_path / "second", previous_stage="3d_lowres", labels=REGIONS, patch=(8, 32, 64))
    folder, stage = write_images(tmp_path / "images"), tmp_path / "stage"
    predict(request(first, folder, stage))
    assert predict(request(second, folder, tmp_path / "ours", previous_stage=stage)).failed == {}
    by_nnunet(second, folder, tmp_path / "theirs", previous=stage)
    assert_equal(tmp_path / "ours", tmp_path / "theirs")
