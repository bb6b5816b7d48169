#!/bin/sh
# panoptica 2.1.7, NumPy 2.2.6.
# HD95 of a structure that the prediction misses is a plain number for `Metric.HD95` on arrays, neither infinite nor NaN:
# SciPy's distance transform of an empty mask measures to a voxel outside of the image. ASSD of the same masks is NaN.
# seen: a cube of 4 voxels at (4, 4, 4) and an empty prediction have HD95 12.14 at one size of the image and at another.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check panoptica==2.1.7 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import math
import sys

import numpy as np
from panoptica.metrics import Metric

values = []
for size in (12, 30):
    cube = np.zeros((size, size, size), np.uint8)
    cube[4:8, 4:8, 4:8] = 1
    pair = (cube, np.zeros_like(cube))
    values.append(float(Metric.HD95(*pair, ref_instance_idx=1, pred_instance_idx=1)))
    average = float(Metric.ASSD(*pair, ref_instance_idx=1, pred_instance_idx=1))
    print(f"image of {size} voxels a side: HD95 {values[-1]:.3f}, ASSD {average}")
sys.exit(0 if all(math.isfinite(value) for value in values) else 1)
PYTHON
