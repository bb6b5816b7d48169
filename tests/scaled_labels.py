"""Label files whose values nibabel has scaled."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np


def scale_labels(path: Path) -> None:
    """Save a label file as nibabel saves a float array under its old header: 1 becomes about 1.004, 2 stays."""
    image = nibabel.load(path)
    image.header.set_data_dtype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj, np.float32), image.affine, image.header), path)
