#!/bin/sh
# connected-components-3d 4.1.1 (cc3d), NumPy 2.2.6.
# In a 2D boolean mask with 8 neighbours, `connected_components` can label a background pixel as foreground. The same
# mask as uint8, and with 4 neighbours, is labelled right.
# seen: [[1,1,0,0,0,0,1,0]] as bool with connectivity=8 gives [[1,1,0,2,0,0,2,0]].
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check connected-components-3d==4.1.1 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import cc3d
import numpy as np

mask = np.array([[1, 1, 0, 0, 0, 0, 1, 0]], bool)
found = cc3d.connected_components(mask, connectivity=8)
print("mask ", mask.astype(int).tolist())
print("found", found.tolist())
sys.exit(0 if ((found > 0) != mask).any() else 1)
PYTHON
