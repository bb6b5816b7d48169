"""SAM's hierarchical image encoder, TinyViT, with FacT in the attention and two 3D adapters in every attention block.

The first stage convolves and stays as it is. FacT's factors are shared by the blocks of one width, where a ViT has one
width for all. Parameters that MobileSAM and LiteMedSAM have keep their names, so that their checkpoints fit.

Source: Wu et al., TinyViT (ECCV 2022); Zhang et al., MobileSAM (2023); MA-SAM, section 3, for the adaptation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nnunetv2_masam.architecture import MLP_RATIO, AdaptationSize, TinyViTSize
from nnunetv2_masam.network.batch_norm import ConvNorm, contexts_of
from nnunetv2_masam.network.block import AdaptedBlock, Computation, choose_computation
from nnunetv2_masam.network.fact import FacT, FacTCores
from nnunetv2_masam.network.lora import LoRA
from nnunetv2_masam.network.neck import Neck
from nnunetv2_masam.network.projection import QKV
from nnunetv2_masam.network.windows import attend_in_windows

_EXPANSION = 4  # of the channels within a block of the first stage
_PIXELS_AT_ONCE = (
    2**14
)  # of slices in a first stage that stores nothing: what it computes in between stays in the cache


class PatchEmbed(nn.Module):
    """Image to the tokens of the first stage, each of 4 x 4 pixels or of one."""

    def __init__(self, input_channels: int, width: int, patch_stride: int) -> None:
        super().__init__()
        kernel, stride = (3, 2) if patch_stride == 4 else (1, 1)
        self.seq = nn.Sequential(
            ConvNorm(input_channels, width // 2, kernel, stride), nn.GELU(), ConvNorm(width // 2, width, kernel, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S') to (N, E, h, w), channels last in memory."""
        return self.seq(x.contiguous(memory_format=torch.channels_last))


class ConvBlock(nn.Module):
    """A block of the first stage: widen, convolve each channel in plane, narrow, and add to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = _EXPANSION * width
        self.conv1 = ConvNorm(width, inner)
        self.conv2 = ConvNorm(inner, inner, kernel=3, groups=inner)
        self.conv3 = ConvNorm(inner, width)
        nn.init.zeros_(self.conv3.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, E, h, w) to the same shape."""
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class PatchMerging(nn.Module):
    """The end of a stage: another width, and with a stride of 2 a quarter of the tokens."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, out)
        self.conv2 = ConvNorm(out, out, kernel=3, stride=stride, groups=out)
        self.conv3 = ConvNorm(out, out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, E, h, w) to (N, E', h', w')."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Self-attention in windows with a bias for every distance, and low-rank increments on query and value.

    The projection's output is ordered by head: query, key and value of the first, then those of the second.
    """

    def __init__(self, width: int, heads: int, window: int, added: AdaptationSize) -> None:
        super().__init__()
        self.window = window
        self.norm = nn.LayerNorm(width)
        self.qkv = QKV(width, heads, by_head=True)
        self.proj = nn.Linear(width, width)
        _start(self.qkv, self.proj)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.fact = FacTCores(added.fact_rank) if added.fact_rank else None
        self.lora = LoRA(width, added.lora_rank) if added.lora_rank else None

    def forward(self, x: Tensor, fact: FacT | None) -> Tensor:
        """(N, G, G', E) to the increment of that shape, with the factors that blocks of this width share."""
        q, k, v = self.qkv(self.norm(x), fact, self.fact, self.lora)  # (N, G, G', heads, d) each
        padding = None
        if x.shape[1] % self.window or x.shape[2] % self.window:  # windows are filled with zeros, then normalised
            _, *padding = self.qkv(self.norm(x.new_zeros(x.shape[-1])), fact, self.fact, self.lora)
        return self.proj(attend_in_windows(q, k, v, (self.window, self.window), padding, self._attend))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, tile: tuple[int, int]) -> Tensor:
        """(n, heads, T, d) of tiles of (h, w) tokens, keys and values with those of the padding, if any."""
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self._biases(tile).to(q.dtype)[None])

    def _biases(self, tile: tuple[int, int]) -> Tensor:
        """(heads, h·w, h·w), or (heads, h·w, h·w + 1) with the sum for all padding tokens as a logarithm."""
        positions = torch.arange(self.window, device=self.attention_biases.device)
        distance = (positions[:, None] - positions).abs()  # (window, window)
        table = self.attention_biases.unflatten(1, (self.window, self.window))
        h, w = tile
        biases = table[:, distance[:h]][..., distance[:w]].transpose(2, 3)  # (heads, h, w, window, window)
        inside = biases[..., :h, :w].flatten(3, 4).flatten(1, 2)
        if tile == (self.window, self.window):
            return inside
        outside = torch.cat([biases[..., h:, :].flatten(3), biases[..., :h, w:].flatten(3)], dim=-1)
        return torch.cat([inside, outside.logsumexp(-1).flatten(1, 2)[..., None]], dim=-1)


class MLP(nn.Module):
    """Normalisation and two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)
        _start(self.fc1, self.fc2)

    def forward(self, x: Tensor) -> Tensor:
        """(…, E) to the increment of that shape."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class Block(AdaptedBlock):
    """A block with attention and what MA-SAM adds: the second adapter comes after the convolution in plane.

    Adapters start at zero; in SAM's ViT they start at random, as the authors' do. In these narrow blocks random ones
    add almost a third of the residual, and training would have to recover what the pretrained blocks compute.
    """

    def __init__(self, width: int, heads: int, window: int, added: AdaptationSize, channels: int) -> None:
        super().__init__(width, channels, added)
        for adapter in (self.adapter_1, self.adapter_2):
            if adapter is not None:
                nn.init.zeros_(adapter.up.weight)
        self.attn = WindowAttention(width, heads, window, added)
        self.local_conv = ConvNorm(width, width, kernel=3, groups=width)
        self.mlp = MLP(width)

    def attend(self, x: Tensor, fact: FacT | None, attention: Callable[..., Tensor]) -> Tensor:
        """(n, G, G', E) to the same shape; ``attention`` is for blocks of SAM's ViT."""
        x = x + self.attn(x, fact)
        return self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def feed_forward(self, x: Tensor) -> Tensor:
        """(n, G, G', E) to the same shape."""
        return x + self.mlp(x)


class ConvStage(nn.Module):
    """The first stage: blocks that convolve, and the step to the next stage."""

    def __init__(self, width: int, depth: int, out: int, stride: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ConvBlock(width) for _ in range(depth)))
        self.downsample = PatchMerging(width, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, E, h, w) to (N, E', h', w')."""
        merged: Tensor = self.downsample(self.blocks(x))
        return merged


class AttentionStage(nn.Module):
    """A further stage: blocks that attend, and the step to the next stage, if there is one."""

    def __init__(self, blocks: Iterable[Block], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor, fact: FacT | None, depth: int, computation: Computation, again: bool) -> Tensor:
        """(B·D, E, h, w), samples of ``depth`` = D slices, to (B·D, E', h', w'); ``again`` checkpoints every block."""
        x = x.permute(0, 2, 3, 1)
        for block in self.blocks:
            if again:
                x = checkpoint(block, x, fact, depth, computation, use_reentrant=False, context_fn=contexts_of(block))
            else:
                x = block(x, fact, depth, computation)
        x = x.permute(0, 3, 1, 2)
        return x if self.downsample is None else self.downsample(x)


class TinyViTEncoder(nn.Module):
    """Slices to image embeddings.

    Args:
        vit: its stages.
        input_channels: C.
        added: what is added to blocks with attention.
        gradient_checkpointing: compute every block with attention again in the backward pass.

    Attributes:
        kernels: as of SAM's ViT; its attention is the same in all.
    """

    def __init__(
        self, vit: TinyViTSize, input_channels: int, added: AdaptationSize, gradient_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        self.kernels = "auto"
        self.patch_embed = PatchEmbed(input_channels, vit.widths[0], vit.patch_stride)
        self.layers = nn.ModuleList([ConvStage(vit.widths[0], vit.depths[0], vit.widths[1], vit.merge_strides[0])])
        steps = zip(vit.widths[1:], vit.widths[2:], vit.merge_strides[1:], strict=False)
        merging = [*(PatchMerging(*step) for step in steps), None]
        stages = zip(vit.widths[1:], vit.depths[1:], vit.num_heads, vit.windows, merging, strict=True)
        for width, depth, heads, window, downsample in stages:
            channels = vit.adapter_channels(width) if added.adapter_channels is None else added.adapter_channels
            blocks = (Block(width, heads, window, added, channels) for _ in range(depth))
            self.layers.append(AttentionStage(blocks, downsample))
        self.neck = Neck(vit.widths[-1])
        widths = dict.fromkeys(vit.widths[1:] if added.fact_rank else ())
        self.fact = nn.ModuleDict(
            {str(width): FacT(width, added.fact_rank, added.fact_scale, added.fact_dropout) for width in widths}
        )

    def forward(self, x: Tensor, depth: int) -> Tensor:
        """(B·D, C, S, S'), samples of ``depth`` = D slices, to (B·D, 256, G, G')."""
        computation = choose_computation(self.kernels, self.layers, x)
        if self.training:  # the statistics of a batch are those of all its slices
            computation = replace(computation, by_slices=False)
        checkpointing = self.gradient_checkpointing and torch.is_grad_enabled()
        x = self._first_stage(x)  # (N, E, h, w)
        for stage in self.layers[1:]:
            width = str(x.shape[1])
            fact = self.fact[width] if width in self.fact else None  # noqa: SIM401, a ModuleDict has no get
            x = stage(x, fact, depth, computation, checkpointing)
        embedding: Tensor = self.neck(x)
        return embedding

    def _first_stage(self, x: Tensor) -> Tensor:
        """(N, C, S, S') to (N, E, h, w), the input of the second stage.

        Its tensors are the largest by far. Where none is stored for a backward pass, it takes a few slices at a time.
        """
        first = [self.patch_embed, self.layers[0]]
        trained = any(parameter.requires_grad for part in first for parameter in part.parameters())
        at_once = (
            len(x) if trained and (self.training or torch.is_grad_enabled()) else _PIXELS_AT_ONCE // x[0, 0].numel()
        )
        return torch.cat([self.layers[0](self.patch_embed(part)) for part in x.split(max(1, at_once))])


def _start(*layers: nn.Linear) -> None:
    """Draw weights as TinyViT's are drawn."""
    for layer in layers:
        nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
