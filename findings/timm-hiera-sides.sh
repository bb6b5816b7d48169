#!/bin/bash
# timm 1.0.22, sam2_hiera_tiny (SAM 2's image encoder). Windows are padded, as in SAM, and the model is made without an
# image size, so sides that are multiples of the patch's stride of 4 look possible. The position table is tiled in units
# of 8 tokens, so only multiples of 32 are: others end in an error of a tensor addition that names no rule.
# seen: 64 x 64, 32 x 64 and 96 x 160 give features at strides 4 to 32; 48 x 64, 56 x 56 and 80 x 96 raise a
# RuntimeError about sizes of tensors.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q timm==1.0.22 torch==2.14.1 torchvision==0.29.1
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import sys

import timm
import torch

model = timm.create_model("sam2_hiera_tiny", num_classes=0).eval()
found = {}
for side in ((64, 64), (32, 64), (96, 160), (48, 64), (56, 56), (80, 96)):
    try:
        with torch.no_grad():
            features = model.forward_intermediates(torch.zeros(1, 3, *side), intermediates_only=True)
        found[side] = [tuple(feature.shape[2:]) for feature in features]
    except RuntimeError as error:
        found[side] = "The size of tensor" in str(error)
    print(*side, found[side])
works = {side for side, what in found.items() if what is not True}
sys.exit(works != {side for side in found if side[0] % 32 == side[1] % 32 == 0} or len(works) != 3)
PY
