#!/bin/bash
# nibabel 5.4.2.
# A float array that is saved under an integer header (as after get_fdata and saving with the old header) is scaled to
# the range of the header's type, without a word. Labels then come back next to whole numbers: a label map of 0, 1, 2
# holds no 1. With labels 0 and 1 only, the values are exact, so it depends on which labels a case has.
# seen: labels 0, 1, 2 saved as float under a uint8 header are read as 0, 0.996078, 2; under int16 as 0, 1.0000153, 2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q nibabel==5.4.2 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import nibabel
import numpy as np

seen = {}
for kind in (np.uint8, np.int16):
    for labels in ((0, 1), (0, 1, 2)):
        nibabel.save(nibabel.Nifti1Image(np.array(labels, kind).reshape(-1, 1, 1), np.eye(4)), "before.nii.gz")
        before = nibabel.load("before.nii.gz")
        nibabel.save(nibabel.Nifti1Image(before.get_fdata(), before.affine, before.header), "after.nii.gz")
        values = nibabel.load("after.nii.gz").get_fdata().ravel().round(6).tolist()
        seen[kind.__name__, labels] = values
        print(f"{labels} saved as float under {kind.__name__}: {values}")
expected = [[0, 1], [0, 0.996078, 2], [0, 1], [0, 1.000015, 2]]
sys.exit(not all(np.allclose(a, b, atol=2e-6) for a, b in zip(seen.values(), expected)))
PY
