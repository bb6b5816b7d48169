"""3D UX-Net and nnFormer at a small size: shapes, gradients, what is refused."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("monai.networks.blocks")

from nnunetv2_masam.baselines import NNFormer, UXNet3D
from nnunetv2_masam.baselines.window_attention import relative_position_index


def small_uxnet(channels: int = 2, classes: int = 3) -> UXNet3D:
    return UXNet3D(channels, classes, feat_size=(4, 4, 4, 4), hidden_size=4)


def small_nnformer(channels: int = 2, classes: int = 3) -> NNFormer:
    return NNFormer(channels, classes, crop_size=(16, 32, 64), embedding_dim=4, num_heads=(1, 1, 2, 2))


@pytest.mark.parametrize("build", [small_uxnet, small_nnformer])
def test_every_parameter_gets_a_gradient(build):
    torch.manual_seed(0)
    network = build()
    outputs = network(torch.randn(2, 2, 16, 32, 64))
    outputs = outputs if isinstance(outputs, list) else [outputs]
    expected = [[2, 3, 16 >> i, 32 >> i, 64 >> i] for i in range(len(outputs))]
    assert [list(output.shape) for output in outputs] == expected
    sum(output.square().mean() for output in outputs).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_nnformer_without_deep_supervision_has_one_output_and_the_same_parameters():
    network = small_nnformer().eval()
    image = torch.randn(1, 2, 16, 32, 64)
    first = network(image)[0]
    network.deep_supervision = False
    torch.testing.assert_close(network(image), first)


def test_relative_positions_share_rows_as_the_authors_do():
    index = relative_position_index(4)  # token (d, h, w) has the number 16 d + 4 h + w
    assert index[0, 0] == 3 * 11 + 3 * 7 + 3
    assert index[16, 0] == index[8, 3]  # offsets (1, 0, 0) and (0, 2, -3)
    assert len(index.unique()) < 7**3


@pytest.mark.parametrize("build", [small_uxnet, small_nnformer])
def test_sides_that_do_not_fit_are_refused(build):
    with pytest.raises(ValueError, match=r"got \(16, 40, 64\) voxels|got \(16, 40, 64\)"):
        build()(torch.randn(1, 2, 16, 40, 64))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one per stage"):
        UXNet3D(1, 2, depths=(2, 2))
    with pytest.raises(ValueError, match="divisible by num_heads"):
        NNFormer(1, 2, embedding_dim=10, num_heads=(3, 6, 12, 24))
    with pytest.raises(ValueError, match="patch_size"):
        NNFormer(1, 2, patch_size=(4, 4, 4))
