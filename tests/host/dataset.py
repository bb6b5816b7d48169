"""Small data sets in nnU-Net's raw layout, for driving it: bright balls in noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SHAPE = (10, 40, 36)  # (D, H, W)
SPACING_XYZ_MM = (1.0, 1.0, 3.0)


def write_dataset(
    raw: Path, name: str, *, cases: int = 5, channels: int = 1, regions: bool = False, ignore_label: bool = False
) -> Path:
    """Write ``name`` under ``raw``: one ball in another, label 2 in label 1.

    Args:
        raw: nnUNet_raw.
        name: DatasetXXX_Name.
        cases: training cases; two more go to imagesTs.
        channels: input channels, all of the same intensities but for the noise.
        regions: define whole (1 and 2) and core (2) instead of two labels.
        ignore_label: mark a corner as label 3, ignore.
    """
    folder = raw / name
    rng = np.random.default_rng(0)
    for part, count in (("Tr", cases), ("Ts", 2)):
        (folder / f"images{part}").mkdir(parents=True)
        (folder / f"labels{part}").mkdir()
        for index in range(count):
            labels = _labels(rng)
            for channel in range(channels):
                image = labels * 100.0 + rng.normal(0, 20, SHAPE)
                _write(folder / f"images{part}" / f"case{part}{index}_{channel:04d}.nii.gz", image.astype(np.float32))
            if ignore_label:
                labels[:, :6, :6] = 3
            _write(folder / f"labels{part}" / f"case{part}{index}.nii.gz", labels)
    definition: dict[str, object] = {"background": 0}
    definition.update({"whole": [1, 2], "core": [2]} if regions else {"shell": 1, "core": 2})
    if ignore_label:
        definition["ignore"] = 3
    description = {
        "channel_names": {str(channel): "MRI" for channel in range(channels)},
        "labels": definition,
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    if regions:
        description["regions_class_order"] = [1, 2]
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def _labels(rng: np.random.Generator) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    centre = np.array(SHAPE) / 2 + rng.uniform(-2, 2, 3)
    distance = np.sqrt(((z - centre[0]) * 3) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    return ((distance < 12).astype(np.uint8) + (distance < 7)).astype(np.uint8)


def _write(file: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_XYZ_MM)
    sitk.WriteImage(image, str(file))
