"""A vision transformer of timm as image encoder: DINOv3 and its descendants, or any other plain ViT of timm.

timm's model is used as it is. Increments on query and value are added where it projects them, and 3D adapters work on
the patch tokens before every block; class and register tokens pass the adapters by. SAM's neck follows, so prompt
encoder and mask decoder are the same as with SAM's own encoder.

Source: Siméoni et al., DINOv3 (2025); MA-SAM, section 3, for the adaptation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nnunetv2_masam.architecture import ADAPTER_CHANNELS, PATCH_SIZE, AdaptationSize
from nnunetv2_masam.network.adapter3d import Adapter3d
from nnunetv2_masam.network.fact import FacT, FacTCores
from nnunetv2_masam.network.increments import join_qkv
from nnunetv2_masam.network.lora import LoRA
from nnunetv2_masam.network.neck import Neck
from nnunetv2_masam.network.projection import QKV


class AdaptedQKV(QKV):
    """A timm block's projection to query, key and value with increments, in the place of timm's layer.

    Args:
        projection: timm's layer, whose parameters are taken over.
        fact: the factors that blocks share, owned by the encoder; None leaves FacT out.
        lora_rank: rank of LoRA; 0 leaves it out.
    """

    def __init__(self, projection: nn.Linear, fact: FacT | None, lora_rank: int) -> None:
        super().__init__(projection.in_features, heads=1, device="meta")
        self.out_features = projection.out_features  # of a block that changes the width, not three times E
        self.weight, self.bias = projection.weight, projection.bias
        self.shared = (fact,)  # in a tuple: registered once, by the encoder
        self.fact = FacTCores(fact.u.out_features) if fact is not None else None
        self.lora = LoRA(self.in_features, lora_rank, self.out_features // 3) if lora_rank else None

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(…, E) to (…, 3·E)."""
        return join_qkv(super().forward(x, self.shared[0], self.fact, self.lora), self.by_head)


class TimmImageEncoder(nn.Module):
    """Slices to image embeddings.

    Args:
        name: a model of timm with one ``qkv`` layer in every block and 16-pixel patches, such as
            ``vit_base_patch16_dinov3``.
        input_channels: C.
        image_size: (S, S'), pixels, multiples of 16.
        added: what is added to the model, its 3D adapters one before every block.
        gradient_checkpointing: compute every block again in the backward pass instead of storing its activations.

    Attributes:
        kernels: as of SAM's encoder; timm's blocks are computed in one way.

    Raises:
        ValueError: timm has no such model, or its blocks are of another kind.
        ModuleNotFoundError: timm cannot be imported.
    """

    def __init__(
        self,
        name: str,
        input_channels: int,
        image_size: tuple[int, int],
        added: AdaptationSize,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        self.kernels = "auto"
        self.grid = (image_size[0] // PATCH_SIZE, image_size[1] // PATCH_SIZE)
        self.vit: Any = create_timm_vit(name, input_channels, image_size)
        dim = self.vit.embed_dim
        self.fact = FacT(dim, added.fact_rank, added.fact_scale, added.fact_dropout) if added.fact_rank else None
        channels = ADAPTER_CHANNELS if added.adapter_channels is None else added.adapter_channels
        self.adapters = nn.ModuleList()
        for block in self.vit.blocks:
            if added.fact_rank or added.lora_rank:
                block.attn.qkv = AdaptedQKV(block.attn.qkv, self.fact, added.lora_rank)
                block.attn.qkv_bias_separate = True  # of EVA's attention: its bias is added to what the layer returns
            if channels:
                self.adapters.append(Adapter3d(dim, channels, added.adapter_kernel, added.adapter_dilation))
        self.neck = Neck(dim)

    @property
    def patch_embed(self) -> nn.Module:
        """Image to tokens."""
        return self.vit.patch_embed

    def forward(self, x: Tensor, depth: int) -> Tensor:
        """(B·D, C, S, S'), samples of ``depth`` = D slices, to (B·D, 256, G, G')."""
        features = self.patch_tokens(x, depth)  # (N, G·G', E)
        return self.neck(features.transpose(1, 2).unflatten(2, self.grid))

    def patch_tokens(self, x: Tensor, depth: int) -> Tensor:
        """(B·D, C, S, S') to normalised patch tokens (B·D, G·G', E), timm's own where nothing is adapted."""
        tokens = self.vit.patch_embed(x)
        embedded = self.vit._pos_embed(tokens)
        tokens, rope = embedded if isinstance(embedded, tuple) else (embedded, None)
        tokens = self.vit.norm_pre(tokens)
        for index in range(len(self.vit.blocks)):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(self._block, tokens, index, depth, rope, use_reentrant=False)
            else:
                tokens = self._block(tokens, index, depth, rope)
        return self.vit.norm(tokens)[:, self.vit.num_prefix_tokens :]

    def _block(self, tokens: Tensor, index: int, depth: int, rope: Tensor | None) -> Tensor:
        """Adapter and block ``index``: (N, prefix + G·G', E) to the same shape."""
        if self.adapters:
            prefix, patches = tokens.tensor_split([self.vit.num_prefix_tokens], dim=1)
            adapted = self.adapters[index](patches.unflatten(1, self.grid).contiguous(), depth)
            tokens = torch.cat([prefix, adapted.flatten(1, 2)], dim=1)
        block = self.vit.blocks[index]
        return block(tokens) if rope is None else block(tokens, rope=rope)


def create_timm_vit(name: str, input_channels: int, image_size: tuple[int, int]) -> Any:
    """A timm ViT without pretrained weights and without a head; errors as of :class:`TimmImageEncoder`."""
    timm = import_timm(name)
    sizes: dict[str, Any] = {"img_size": image_size, "dynamic_img_size": False, "in_chans": input_channels}
    try:
        vit: Any = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", **sizes)
        fits = all(isinstance(block.attn.qkv, nn.Linear) for block in vit.blocks)
        patch = tuple(vit.patch_embed.patch_size)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"encoder: {name!r} is not a plain ViT of timm ({error})") from error
    if not fits or patch != (PATCH_SIZE, PATCH_SIZE):
        raise ValueError(
            f"encoder: {name!r} has patches of {patch} pixels and {'' if fits else 'no '}qkv layer in every block; "
            f"expected patches of {PATCH_SIZE} and a qkv layer, such as vit_base_patch16_dinov3"
        )
    return vit


def import_timm(name: str) -> Any:
    """timm, which has the model ``name``; errors as of :class:`TimmImageEncoder`."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not match torch
        raise ModuleNotFoundError(
            f"encoder='timm:{name}' needs timm, which cannot be imported ({error}): pip install "
            '"nnunetv2-masam[timm]", and a torchvision from the same index as torch'
        ) from error
    if not timm.is_model(name):
        similar = timm.list_models(f"*{name.split('.')[0].split('_')[-1]}*")[:6] or timm.list_models("vit_*dinov3*")[:6]
        raise ValueError(f"encoder: timm {timm.__version__} has no model {name!r}; similar names: {', '.join(similar)}")
    return timm
