#!/bin/sh
# panoptica 2.1.7, SimpleITK 2.5.2, NumPy 2.2.6.
# The evaluator takes the spacing of NIfTI files that SimpleITK reads in the order (x, y, z), and applies it to arrays of
# the order (z, y, x). For slices of 5 mm and pixels of 1 mm, distances between slices count 1 and between pixels 5.
# seen: HD95 of a cube moved by one slice of 5 mm is 1, of the cube moved by one pixel of 1 mm along x it is 5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check panoptica==2.1.7 SimpleITK==2.5.2 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import SimpleITK as sitk
from panoptica import InputType, Panoptica_Evaluator
from panoptica.metrics import Metric


def hd95(axis: int) -> float:
    cube = np.zeros((12, 12, 12), np.uint8)
    cube[4:8, 4:8, 4:8] = 1
    for name, mask in (("reference", cube), ("prediction", np.roll(cube, 1, axis))):
        image = sitk.GetImageFromArray(mask)
        image.SetSpacing((1.0, 1.0, 5.0))
        sitk.WriteImage(image, f"{name}.nii.gz")
    evaluator = Panoptica_Evaluator(InputType.MATCHED_INSTANCE, instance_metrics=[Metric.HD95], global_metrics=[])
    (result,) = evaluator.evaluate("prediction.nii.gz", "reference.nii.gz", verbose=False).values()
    return float(result.sq_hd95)


between_slices, between_pixels = hd95(0), hd95(2)
print(f"moved by a slice of 5 mm: HD95 {between_slices}; by a pixel of 1 mm: {between_pixels}")
sys.exit(0 if (between_slices, between_pixels) == (1.0, 5.0) else 1)
PYTHON
