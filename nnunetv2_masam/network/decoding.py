"""Image embeddings to logits where some slices have a box, all, or none.

A box is two more tokens that all others attend to, so slices with and without one are decoded apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nnunetv2_masam.network.autocast import without_autocast


def decode_slices(
    prompt_encoder: Any, mask_decoder: Callable[..., Tensor], embedding: Tensor, boxes: Tensor | None
) -> Tensor:
    """Embedding (N, 256, G, G') and boxes (N, 4), NaN for a slice without one, to logits (N, K, S, S')."""

    def decode(embedding: Tensor, boxes: Tensor | None) -> Tensor:
        """The same where every slice has a box, or none has."""
        # sines of random frequencies lose too much in half precision
        with without_autocast(embedding.device):
            sparse, dense = prompt_encoder(points=None, boxes=boxes, masks=None)
            position = prompt_encoder.get_dense_pe()
        return mask_decoder(embedding, position, sparse, dense)

    if boxes is None:
        return decode(embedding, None)
    has_box = ~boxes.isnan().any(dim=1)  # (N,)
    if has_box.all():
        return decode(embedding, boxes)
    if not has_box.any():
        # the corners' embeddings take part with weight zero: distributed training waits for their gradients
        corners = sum(prompt_encoder.point_embeddings[i].weight.sum() for i in (2, 3))
        return decode(embedding, None) + 0.0 * corners
    with_box, without = has_box.nonzero()[:, 0], (~has_box).nonzero()[:, 0]
    decoded = torch.cat([decode(embedding[with_box], boxes[with_box]), decode(embedding[without], None)])
    return decoded[torch.cat([with_box, without]).argsort()]
