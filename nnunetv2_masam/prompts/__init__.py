"""Box prompts through nnU-Net: a box is one more input channel, the last, 1 inside and 0 outside.

    reference masks ─ from_masks.py ──────────────┐
    tables ─ drawn.py, markups ─ markups.py ──────┴→ voxels ─ channel.py ─→ case_000N beside the images
          for a dataset (box_dataset.py) or for prediction (inputs.py)
          ─ nnU-Net: resampling, augmentation (training/box_augmentation.py keeps the channel binary), sliding window
          ─ network/boxes.py: the channel of a stack → SAM's box coordinates

Boxes in voxels are [[low, high], ...] along (D, H, W), high excluded, as in ``acvl_utils``.
"""

from __future__ import annotations

VoxelBox = list[list[int]]
