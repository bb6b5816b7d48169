#!/bin/bash
# batchgenerators 0.25.3 and 0.25.4.
# Up to 0.25.3, resize_segmentation gives a voxel the label whose own interpolated mask reaches one half. Where four
# labels meet without background between them, as in parcellations, none does, and the voxel becomes 0, background,
# although the label map holds no 0 at all. nnU-Net resamples the segmentations of its training cases with it.
# seen: a map of the labels 1, 2, 3, 4 in four quarters, resized from 4 x 4 to 7 x 7, holds 0 with 0.25.3 and not with 0.25.4.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q numpy==2.2.6 scipy==1.15.3 scikit-image==0.25.2 pandas==2.3.3
for version in 0.25.3 0.25.4; do
    venv/bin/pip install -q --no-deps batchgenerators==$version
    venv/bin/python - <<'PY' >> seen
import numpy as np
from batchgenerators.augmentations.utils import resize_segmentation

labels = np.kron([[1, 2], [3, 4]], np.ones((2, 2), int))
print(np.unique(resize_segmentation(labels, (7, 7), order=1)).tolist())
PY
    echo "$version: labels $(tail -1 seen)"
done
test "$(cat seen)" = "[0, 1, 2, 3, 4]
[1, 2, 3, 4]"
