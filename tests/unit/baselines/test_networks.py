"""3D UX-Net and nnFormer at a small size: shapes, gradients, what is refused, and checkpoints of other classes."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("monai.networks.blocks")

from nnunetv2_masam.baselines import NNFormer, UXNet3D, load_authors_weights
from nnunetv2_masam.baselines.authors import NNFORMER_KEYS, UXNET_KEYS
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


def authors_names(network: torch.nn.Module, table: dict[str, str]) -> dict[str, torch.Tensor]:
    names = {ours: theirs for theirs, ours in table.items()}
    found = {}
    for key, tensor in network.state_dict().items():
        ours = max((beginning for beginning in names if key.startswith(beginning)), key=len)
        theirs = names[ours] + key[len(ours) :]
        found[theirs.replace(".mlp.linear1.", ".mlp.fc1.").replace(".mlp.linear2.", ".mlp.fc2.")] = tensor.clone()
    return found


@pytest.mark.parametrize(("build", "table"), [(small_uxnet, UXNET_KEYS), (small_nnformer, NNFORMER_KEYS)])
def test_authors_names_are_loaded_and_every_key_is_reported(build, table):
    source, target = build(), build()
    report = load_authors_weights(target, {**authors_names(source, table), "epoch": torch.zeros(1)})
    assert set(report.loaded) == set(source.state_dict())
    assert (report.fresh, report.unknown) == ((), ("epoch",))
    assert "not in the network: epoch" in str(report)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name])


@pytest.mark.parametrize(
    ("build", "table", "head"),
    [(small_uxnet, UXNET_KEYS, "out.weight"), (small_nnformer, NNFORMER_KEYS, "heads.0.weight")],
)
def test_only_the_classes_may_differ(build, table, head):
    state_dict = authors_names(build(classes=5), table)
    assert head in load_authors_weights(build(), state_dict).fresh
    missing = dict(list(state_dict.items())[6:])
    with pytest.raises(ValueError, match="does not fit"):
        load_authors_weights(build(), missing)
