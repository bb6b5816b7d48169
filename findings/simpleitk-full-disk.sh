#!/bin/sh
# SimpleITK 2.5.7, NumPy 2.4.6.
# Where a file cannot grow any further, as on a full disk, `WriteImage` of a compressed NIfTI file raises no error and
# leaves a file that is cut short. The same image as NRRD or MetaImage raises a RuntimeError.
# The limit is one on the size of files of this process, which the operating system reports like a full disk.
# seen: y.nii.gz: no error, 100000 bytes. y.nrrd: RuntimeError. y.mha: RuntimeError.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check SimpleITK==2.5.7 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import os
import resource
import signal
import sys

import numpy as np
import SimpleITK as sitk

image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 30000, (20, 100, 100)).astype(np.int16))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
silent = {}
for name in ("y.nii.gz", "y.nrrd", "y.mha"):
    try:
        sitk.WriteImage(image, name, True)
        silent[name] = True
        print(f"{name}: no error, {os.path.getsize(name)} bytes")
    except RuntimeError as error:
        silent[name] = False
        print(f"{name}: RuntimeError")
sys.exit(0 if silent == {"y.nii.gz": True, "y.nrrd": False, "y.mha": False} else 1)
PYTHON
