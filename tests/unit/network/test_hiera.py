"""SAM 2's Hiera as image encoder: timm's own output without adaptations, gradients, files, plans."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.step_memory import trace_forward, trace_step
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning import PlanningRules, plan_configuration
from nnunetv2_masam.planning.memory import GPU, Architecture, MicroBatch, count_parameters, step_bytes
from nnunetv2_masam.planning.tile_depth import slice_bytes
from nnunetv2_masam.planning.timm_size import hiera_size
from nnunetv2_masam.weights import CheckpointError
from nnunetv2_masam.weights.timm_weights import load_timm_checkpoint

timm = pytest.importorskip("timm")

TINY = "sam2_hiera_tiny"
SIZE = (32, 64)  # windows of 14 tokens are not whole
LORA = {"fact_rank": 0, "lora_rank": 2}


@pytest.fixture(autouse=True)
def six_blocks(monkeypatch):
    """timm's models with six narrow blocks, one of them global."""
    sizes = {"stages": (1, 1, 2, 2), "global_att_blocks": (3,), "embed_dim": 16}
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, **sizes))
    hiera_size.cache_clear()
    yield
    hiera_size.cache_clear()


def built(name: str = TINY, channels: int = 3, **arguments: Any) -> MASAM:
    torch.manual_seed(0)
    return MASAM(
        channels,
        2,
        encoder=f"timm:{name}",
        **({"image_size": SIZE, "fact_rank": 4, "decoder_doublings": 2} | arguments),
    )


def with_random_adaptations(network: MASAM) -> MASAM:
    for name, parameter in network.adapter_parameters():
        nn.init.normal_(parameter, std=0.1 if "norm" not in name else 1.0)
    return network


def own_model(name: str = TINY) -> Any:
    """timm's model with random weights everywhere, its biases included."""
    torch.manual_seed(1)
    model = timm.create_model(name, num_classes=0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.05)
    return model.eval()


def own_stages(model: Any, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return model.forward_intermediates(x, intermediates_only=True)[-2:]


@pytest.mark.parametrize("name", [TINY, "sam2_hiera_small", "sam2_hiera_base_plus"])
@pytest.mark.parametrize("arguments", [{}, LORA])
def test_without_adaptations_it_is_timms_own_bit_by_bit(name, arguments, tmp_path):
    model, network, x = own_model(name), with_random_adaptations(built(name, **arguments)), torch.randn(4, 3, *SIZE)
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    report = load_timm_checkpoint(network, tmp_path / "timm.pth")
    assert set(report.refused) == {"head.norm.weight", "head.norm.bias"}
    with network.adapters_disabled():
        for mode in (network.train(), network.eval()):
            stages = mode.image_encoder.last_stages(x, 2)
            assert all(torch.equal(a, b) for a, b in zip(stages, own_stages(model, x), strict=True))
        with torch.no_grad():  # increments are merged
            stages = network.image_encoder.last_stages(x, 2)
            assert all(torch.equal(a, b) for a, b in zip(stages, own_stages(model, x), strict=True))
    assert not torch.allclose(network.image_encoder.last_stages(x, 2)[0], own_stages(model, x)[0], atol=1e-3)


@pytest.mark.parametrize("size", [TINY, "sam2_hiera_small", "sam2_hiera_base_plus"])
def test_factors_are_shared_by_width(size, monkeypatch):
    monkeypatch.undo()
    with torch.device("meta"):
        encoder = built(size).image_encoder
    widths = [(block.dim, block.dim_out) for block in encoder.vit.blocks]
    assert sum(before != after for before, after in widths) == 3
    for (before, after), block in zip(widths, encoder.vit.blocks, strict=True):
        (factors,) = block.attn.qkv.shared
        assert factors.u is encoder.fact[str(before)].u
        assert factors.v is encoder.fact[str(after)].v
    names = [name for name, _ in encoder.named_parameters() if ".u." in name or name.endswith(".v.weight")]
    assert len([name for name in names if name.startswith("fact.")]) == 2 * len(encoder.fact) == 8


@pytest.mark.parametrize("arguments", [{}, LORA, {"gradient_checkpointing": True}, {"trainable": "all"}])
def test_what_is_trained_gets_gradients_in_every_block(arguments):
    network = with_random_adaptations(built(channels=1, **arguments)).train()
    network(torch.randn(1, 1, 2, 30, 40)).square().mean().backward()
    for name, parameter in network.named_parameters():
        added = any(part in name for part in ("fact", "lora", "adapters."))
        if name.startswith("image_encoder."):
            assert parameter.requires_grad == (added or ".neck." in name or "trainable" in arguments), name
        if parameter.requires_grad:
            assert parameter.grad is not None, name
        if parameter.requires_grad and added:
            assert parameter.grad.abs().sum() > 0, name


def test_checkpointing_and_kernels_change_no_gradient():
    gradients = []
    for arguments, kernels in (({}, "plain"), ({}, "auto"), ({"gradient_checkpointing": True}, "auto")):
        network = with_random_adaptations(built(fact_dropout=0.0, **arguments)).train()
        network.kernels = kernels
        network(torch.linspace(-2, 2, 3 * 2 * 32 * 64).view(1, 3, 2, 32, 64)).square().mean().backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0])


@pytest.mark.parametrize("arguments", [{}, LORA])
def test_prediction_merges_the_increments_and_gives_the_same(arguments):
    network, x = with_random_adaptations(built(**arguments)).eval(), torch.randn(4, 3, *SIZE)
    added = network.image_encoder(x, 2).detach()
    with torch.no_grad():
        torch.testing.assert_close(network.image_encoder(x, 2), added, rtol=1e-4, atol=1e-4)


def test_slices_of_a_sample_see_each_other_through_adapters_only():
    network = with_random_adaptations(built()).eval()
    x = torch.randn(3, 3, *SIZE)
    changed = x.clone()
    changed[0] += 1
    with torch.no_grad():
        assert (network.image_encoder(x, 3) != network.image_encoder(changed, 3)).flatten(1).any(1).all()
        with network.adapters_disabled():
            assert torch.equal(network.image_encoder(x, 3)[1:], network.image_encoder(changed, 3)[1:])


def test_boxes_one_channel_and_other_slices():
    network = built(channels=2, prompt="box").eval()
    x = torch.randn(1, 2, 2, 50, 70)
    x[:, 1] = 0
    with torch.no_grad():
        assert network(x).shape == (1, 2, 2, 50, 70)


def test_files_of_sam_2_load_their_trunk(tmp_path):
    model, x = own_model(), torch.randn(2, 1, *SIZE)
    trunk = {f"image_encoder.trunk.{k.replace('mlp.fc', 'mlp.layers.')}": v for k, v in model.state_dict().items()
             if not k.startswith("head.")}  # fmt: skip
    trunk = {k.replace("layers.1", "layers.0").replace("layers.2", "layers.1"): v for k, v in trunk.items()}
    others = {"maskmem_tpos_enc": torch.zeros(7), "image_encoder.neck.convs.0.conv.weight": torch.zeros(2)}
    torch.save({"model": {**others, **trunk}}, tmp_path / "sam2.pt")
    network = built(channels=1).eval()
    report = load_timm_checkpoint(network, tmp_path / "sam2.pt")
    assert not [name for name in report.new if ".vit." in name and "fact" not in name]
    with torch.no_grad(), network.adapters_disabled():
        expected = own_stages(model, x.expand(-1, 3, -1, -1))
        torch.testing.assert_close(network.image_encoder.last_stages(x, 1), expected, rtol=1e-4, atol=1e-4)


def test_files_of_other_encoders_are_refused_by_one_sentence_and_nothing_is_loaded(tmp_path):
    network = built()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    vit = {"patch_embed.proj.weight": torch.zeros(768, 3, 16, 16), "blocks.0.attn.qkv.bias": torch.zeros(2304)}
    wider = timm.create_model("sam2_hiera_base_plus", num_classes=0, embed_dim=32).state_dict()
    part = {name: tensor for name, tensor in own_model().state_dict().items() if "blocks.2.attn" not in name}
    kinds = {"ViT of width 768 and depth 1": vit, "Hiera of width 32 and depth 6": wider, "without 4 of": part}
    for kind, tensors in kinds.items():
        torch.save(tensors, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match=f"{kind}.*expected.*timm:{TINY}"):
            load_timm_checkpoint(network, tmp_path / "other.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_sizes_that_the_position_table_does_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"image_size: got \(48, 64\), expected two multiples of 32"):
        built(image_size=(48, 64))
    with pytest.raises(ValueError, match="has no model 'sam2_hiera_nano'"):
        built("sam2_hiera_nano")


BASELINE = {
    "patch_size": [16, 320, 250], "median_image_size_in_voxels": [20, 320, 250], "spacing": [3.0, 0.6, 0.6],
    "normalization_schemes": ["ZScoreNormalization"],
}  # fmt: skip


def test_plans_have_sizes_that_the_network_takes(monkeypatch):
    monkeypatch.undo()
    rules = PlanningRules(encoder=f"timm:{TINY}", max_image_side=448)
    planned = plan_configuration(BASELINE, rules, 2)
    arch_kwargs = planned["architecture"]["arch_kwargs"]
    assert arch_kwargs == {"encoder": f"timm:{TINY}", "image_size": [448, 352]} | arch_kwargs
    assert planned["predicted_vram_gb"] <= 8
    tight = plan_configuration(BASELINE, rules, 2, vram_gb=1.2)["architecture"]["arch_kwargs"]
    assert all(side % 32 == 0 for side in tight["image_size"])
    assert max(tight["image_size"]) < 448


@pytest.mark.parametrize("changes", [{}, {"trainable": "all"}, {**LORA, "adapter_channels": 0}])
def test_parameters_are_counted(changes):
    network = built(channels=1, **changes)
    arguments = {"encoder": f"timm:{TINY}", "image_size": list(SIZE), "fact_rank": 4, "decoder_doublings": 2, **changes}
    counted = count_parameters(Architecture.of(arguments), 2, 1)
    parameters = list(network.parameters())
    assert counted == (sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad))


@pytest.mark.parametrize("changes", [{}, {"gradient_checkpointing": True}, {"trainable": "all"}])
def test_memory_by_formula_holds_against_a_trace(changes):
    arch_kwargs = {"encoder": f"timm:{TINY}", "image_size": (448, 320), **changes}
    batch = MicroBatch(10, (448, 320))
    assert step_bytes(arch_kwargs, batch, GPU) == pytest.approx(trace_step(arch_kwargs, batch, like_gpu=True), rel=0.15)


def test_bytes_of_a_slice_hold_against_a_trace(monkeypatch):
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, embed_dim=96))  # the real width
    arch_kwargs = {"encoder": f"timm:{TINY}", "image_size": [256, 192]}
    peaks = [trace_forward(arch_kwargs, MicroBatch(slices, (256, 192)), half=True) for slices in (16, 32)]
    logits = 4 * 2 * 256 * 192  # of the passes before, which a single pass lacks
    assert (peaks[1] - peaks[0]) / 16 + logits == pytest.approx(slice_bytes(arch_kwargs, (256, 192), 1, 2), rel=0.15)
