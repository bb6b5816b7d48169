#!/bin/bash
# SimpleITK 2.5.7 and nibabel 5.4.2.
# Where the two transforms of a NIfTI file differ (qform of code 1, from the scanner, and sform of code 2, aligned to
# another image), nibabel takes the sform and SimpleITK the qform. Neither says so; the same millimetres are other voxels.
# seen: voxel (0, 0, 0) is at (-20, -15, -10) mm for nibabel and at (20, 15, -10) mm for SimpleITK, both in RAS.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q nibabel==5.4.2 SimpleITK==2.5.7 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PY'
import sys

import nibabel
import numpy as np
import SimpleITK as sitk

sform, qform = np.diag([1.0, 1, 2, 1]), np.diag([-1.0, -1, 2, 1])
sform[:3, 3], qform[:3, 3] = (-20, -15, -10), (20, 15, -10)
image = nibabel.Nifti1Image(np.zeros((40, 30, 20), np.float32), sform)
image.set_qform(qform, 1)
image.set_sform(sform, 2)
nibabel.save(image, "a.nii.gz")
by_nibabel = nibabel.load("a.nii.gz").affine[:3, 3].tolist()
x, y, z = sitk.ReadImage("a.nii.gz").GetOrigin()
by_itk = [-x, -y, z]  # from LPS to RAS
print("first voxel, RAS: nibabel", by_nibabel, "SimpleITK", by_itk)
sys.exit(by_nibabel != [-20, -15, -10] or by_itk != [20, 15, -10])
PY
