#!/bin/sh
# scikit-image 0.26.0, NumPy 2.2.6.
# `skeletonize` of a 3D mask does not keep its topology: a rod that is 4 x 4 voxels wide and goes on 1 x 1 voxel wide has
# a skeleton in its thin part alone. A rod of 5 x 5 that goes on as 2 x 2 keeps both parts.
# seen: the skeleton of a rod of length 54, half of it 4 x 4 wide, is 28 voxels long; that of 5 x 5 and 2 x 2 has 51.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check scikit-image==0.26.0 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
from skimage.morphology import skeletonize


def length(wide: int, thin: int) -> int:
    rod = np.zeros((14, 14, 60), bool)
    rod[4 : 4 + wide, 4 : 4 + wide, 3:30] = True
    rod[5 : 5 + thin, 5 : 5 + thin, 30:57] = True
    return int(np.ptp(np.argwhere(skeletonize(rod))[:, 2])) + 1


even, odd = length(4, 1), length(5, 2)
print(f"length 54: skeleton of 4 x 4 and 1 x 1 has {even}, of 5 x 5 and 2 x 2 has {odd}")
sys.exit(0 if even < 40 and odd > 45 else 1)
PYTHON
