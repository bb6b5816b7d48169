"""Plans with the keys that a real file has, as far as tests need them."""

from __future__ import annotations

from typing import Any


def plans_with(architecture: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """Plans of one configuration, ``3d_fullres``, with a network and other values where asked for."""
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "patch_size": [4, 48, 32],
        "median_image_size_in_voxels": [9.0, 48.0, 32.0],
        "spacing": [3.0, 1.0, 1.0],
        "batch_size": 2,
        "normalization_schemes": ["ZScoreNormalization"],
        "architecture": architecture,
        **changed,
    }
    return {
        "plans_name": "nnUNetPlans",
        "dataset_name": "Dataset001_A",
        "label_manager": "LabelManager",
        "image_reader_writer": "SimpleITKIO",
        "configurations": {"3d_fullres": configuration},
    }
