#!/bin/sh
# MedPy 0.4.0 and 0.5.2, NumPy 2.2.6.
# `medpy.metric.binary.dc` of two empty masks changed from the worst value to the best one between two releases, so a mean
# Dice over cases with absent structures depends on the release.
# seen: 0.0 with 0.4.0, 1.0 with 0.5.2; hd95 of an empty prediction raises RuntimeError with both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 0.4.0 0.5.2; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q --disable-pip-version-check "medpy==$version" numpy==2.2.6 setuptools==75.8.0
done
ask='
import numpy as np
from medpy.metric import binary
nothing = np.zeros((4, 4, 4), bool)
print(float(binary.dc(nothing, nothing)))
'
before=$("$folder/0.4.0/bin/python" -W ignore -c "$ask")
after=$("$folder/0.5.2/bin/python" -W ignore -c "$ask")
echo "Dice of two empty masks: 0.4.0 gives $before, 0.5.2 gives $after"
[ "$before" = 0.0 ] && [ "$after" = 1.0 ]
