"""MA-SAM's network: a volume's slices through SAM's image encoder and back to voxels.

Knows nothing of nnU-Net, files or environment variables. Letters in shape comments, here and below:

    B  samples in a batch          D  slices of a sample       N  B·D, slices on the batch axis
    C  input channels              H, W  voxels in plane       S, S'  network input in plane, pixels
    K  output channels             T  tokens                   E  embedding width
    A  adapter channels            R  rank of FacT             G, G'  token grid, S/16 and S'/16 (S/4 in LiteMedSAM)

    patch (B, C, D, H, W) ─ slices.py ─→ (N, C, S, S') ─ image_encoder.py ─→ (N, 256, G, G')
          ─ decoding.py, mask_decoder.py ─→ (N, K, S, S') ─ slices.py ─→ logits (B, K, D, H, W)

Axes are always ordered (D, H, W), boxes are (x0, y0, x1, y1).
"""

from nnunetv2_masam.architecture import TINY_VIT_PRESETS, VIT_PRESETS, TinyViTSize, ViTSize, resolve_vit
from nnunetv2_masam.network.masam import MASAM

__all__ = ["MASAM", "TINY_VIT_PRESETS", "VIT_PRESETS", "TinyViTSize", "ViTSize", "resolve_vit"]
