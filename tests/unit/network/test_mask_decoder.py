"""The mask decoder's own parts: SAM's upscaling with channels last, and hypernetworks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunetv2_masam.network.mask_decoder import Doubling, MaskDecoder, SegmentationLayers, Upscaling
from nnunetv2_masam.network.sam_parts import LayerNorm2d


@pytest.mark.parametrize("size", [(2, 3), (1, 5)])
def test_doubling_is_the_transposed_convolution_that_it_holds(size):
    torch.manual_seed(0)
    doubling = Doubling(6, 4).double()
    x = torch.randn(2, *size, 6, dtype=torch.float64, requires_grad=True)
    inputs = [x, *doubling.parameters()]
    stock = nn.functional.conv_transpose2d(x.permute(0, 3, 1, 2), doubling.weight, doubling.bias, stride=2)
    expected, ours = stock.permute(0, 2, 3, 1), doubling(x)
    torch.testing.assert_close(ours, expected)
    weights = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (ours, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_upscaling_equals_sams_layers():
    torch.manual_seed(0)
    ours = Upscaling(256, 2)
    theirs = nn.Sequential(
        nn.ConvTranspose2d(256, 64, kernel_size=2, stride=2), LayerNorm2d(64), nn.GELU(),
        nn.ConvTranspose2d(64, 32, kernel_size=2, stride=2), nn.GELU(),
    )  # fmt: skip
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.1)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 5, 256)
    torch.testing.assert_close(ours(x), theirs(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("doublings", "channels"), [(1, 64), (2, 32), (3, 16), (4, 8)])
def test_each_doubling_doubles_the_grid_and_halves_the_channels(doublings, channels):
    upscaling = Upscaling(256, doublings)
    assert upscaling(torch.randn(2, 3, 5, 256)).shape == (2, 3 * 2**doublings, 5 * 2**doublings, channels)


def test_two_doublings_are_sams_own():
    """Names and shapes of the official checkpoints."""
    shapes = {name: tuple(tensor.shape) for name, tensor in Upscaling(256, 2).state_dict().items()}
    assert shapes == {
        "0.weight": (256, 64, 2, 2), "0.bias": (64,),
        "1.weight": (64,), "1.bias": (64,),
        "3.weight": (64, 32, 2, 2), "3.bias": (32,),
    }  # fmt: skip


def test_logits_are_the_channels_weighed_by_the_hypernetworks():
    torch.manual_seed(0)
    layers = SegmentationLayers(3, channels=8)
    tokens, pixels = torch.randn(2, 3, 256), torch.randn(2, 4, 6, 8)
    weights = torch.stack([mlp(tokens[:, k]) for k, mlp in enumerate(layers.hypernetworks)], dim=1)
    torch.testing.assert_close(layers(tokens, pixels), torch.einsum("nkc,nhwc->nkhw", weights, pixels))


@pytest.mark.parametrize("doublings", [1, 4])
def test_each_slice_is_decoded_alone(doublings):
    torch.manual_seed(0)
    decoder = MaskDecoder(3, doublings).eval()
    embedding, position, dense = torch.randn(2, 256, 3, 2), torch.randn(1, 256, 3, 2), torch.randn(1, 256, 3, 2)
    sparse = torch.empty(1, 0, 256)
    logits = decoder(embedding, position, sparse, dense)
    assert logits.shape == (2, 3, 3 * 2**doublings, 2 * 2**doublings)
    for index in range(2):
        alone = decoder(embedding[index : index + 1], position, sparse, dense)
        torch.testing.assert_close(logits[index : index + 1], alone, rtol=1e-4, atol=1e-5)
