"""A ViT of timm as image encoder: timm's own output without adaptations, and its checkpoints under every name."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning import PlanningRules, plan_configuration
from nnunetv2_masam.planning.memory import Architecture, count_parameters
from nnunetv2_masam.planning.timm_size import timm_size
from nnunetv2_masam.weights import CheckpointError, resolve_checkpoint
from nnunetv2_masam.weights.timm_weights import load_timm_checkpoint

timm = pytest.importorskip("timm")

DINO = "vit_small_patch16_dinov3_qkvb"
SIZE = (32, 48)


@pytest.fixture(autouse=True)
def two_blocks(monkeypatch):
    """timm's models with two blocks, which tests the same in a sixth of the time."""
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, depth=2))
    timm_size.cache_clear()
    yield
    timm_size.cache_clear()


def built(name: str = DINO, channels: int = 3, **arguments: Any) -> MASAM:
    torch.manual_seed(0)
    sizes = {"image_size": SIZE, "fact_rank": 4, "adapter_channels": 8, "decoder_doublings": 2}
    return MASAM(channels, 2, encoder=f"timm:{name}", **(sizes | arguments))


def own_model(name: str = DINO) -> Any:
    """timm's model with random weights everywhere, its biases included."""
    torch.manual_seed(1)
    model = timm.create_model(name, num_classes=0, global_pool="", img_size=SIZE, dynamic_img_size=False)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.05)
    return model.eval()


def own_tokens(model: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model.forward_features(x)[:, model.num_prefix_tokens :]


@pytest.mark.parametrize("name", [DINO, "vit_tiny_patch16_224"])
@pytest.mark.parametrize("arguments", [{}, {"fact_rank": 0, "lora_rank": 2}])
def test_without_adaptations_it_is_timms_own_bit_by_bit(name, arguments):
    network = built(name, **arguments).eval()
    model = own_model(name)
    model.load_state_dict({k: v for k, v in network.image_encoder.vit.state_dict().items() if "fact" not in k
                           and "lora" not in k})  # fmt: skip
    x = torch.randn(4, 3, *SIZE)
    with torch.no_grad():
        with network.adapters_disabled():
            if name != DINO:  # its bias is added after the projection, which rounds differently
                assert torch.equal(network.image_encoder.patch_tokens(x, depth=2), own_tokens(model, x))
            torch.testing.assert_close(network.image_encoder.patch_tokens(x, depth=2), own_tokens(model, x))
        assert not torch.allclose(network.image_encoder.patch_tokens(x, depth=2), own_tokens(model, x), atol=1e-3)


def test_the_unbiased_dinov3_is_timms_own_bit_by_bit():
    network, x = built("vit_small_patch16_dinov3").eval(), torch.randn(2, 3, *SIZE)
    model = own_model("vit_small_patch16_dinov3")
    model.load_state_dict({k: v for k, v in network.image_encoder.vit.state_dict().items() if "fact" not in k})
    with torch.no_grad(), network.adapters_disabled():
        assert torch.equal(network.image_encoder.patch_tokens(x, depth=1), own_tokens(model, x))


@pytest.mark.parametrize("arguments", [{}, {"fact_rank": 0, "lora_rank": 2}, {"gradient_checkpointing": True}])
def test_adaptations_neck_and_decoder_are_trained_and_nothing_else(arguments):
    network = built(channels=1, **arguments).train()
    network(torch.randn(1, 1, 3, 30, 40)).square().mean().backward()
    for name, parameter in network.image_encoder.named_parameters():
        added = any(part in name for part in ("fact", "lora", "adapters."))
        assert parameter.requires_grad == (added or name.startswith("neck.")), name
        if parameter.requires_grad:
            assert parameter.grad is not None, name
    assert all(p.grad is not None for p in network.mask_decoder.parameters())


@pytest.mark.parametrize("arguments", [{}, {"fact_rank": 0, "lora_rank": 2}])
@pytest.mark.parametrize("name", [DINO, "vit_tiny_patch16_224"])
def test_prediction_merges_the_increments_and_gives_the_same(name, arguments):
    network = built(name, **arguments)
    for parameter_name, parameter in network.adapter_parameters():
        nn.init.normal_(parameter, std=0.1 if "norm" not in parameter_name else 1.0)
    network.eval()
    x = torch.randn(4, 3, *SIZE)
    added = network.image_encoder.patch_tokens(x, depth=2).detach()
    with torch.no_grad():
        merged = network.image_encoder.patch_tokens(x, depth=2)
    torch.testing.assert_close(merged, added, rtol=1e-4, atol=1e-4)


def test_slices_of_a_sample_see_each_other():
    network = built().eval()
    x = torch.randn(3, 3, *SIZE)
    changed = x.clone()
    changed[0] += 1
    with torch.no_grad():
        difference = (network.image_encoder(x, 3) - network.image_encoder(changed, 3)).abs().amax((1, 2, 3))
        assert (difference > 0).all()
        with network.adapters_disabled():
            difference = (network.image_encoder(x, 3) - network.image_encoder(changed, 3)).abs().amax((1, 2, 3))
    assert (difference[1:] == 0).all()


def as_authors_name_them(model: Any) -> dict[str, Tensor]:
    """DINOv3's own names: biases in one tensor, LayerScale as modules, registers as storage tokens."""
    tensors = {k: v.clone() for k, v in model.state_dict().items()}
    for index in range(len(model.blocks)):
        block = f"blocks.{index}."
        q, v = tensors.pop(block + "attn.q_bias"), tensors.pop(block + "attn.v_bias")
        tensors[block + "attn.qkv.bias"] = torch.cat([q, torch.zeros_like(q), v])
        for number in (1, 2):
            tensors[f"{block}ls{number}.gamma"] = tensors.pop(f"{block}gamma_{number}")
    tensors["storage_tokens"] = tensors.pop("reg_token")
    return tensors


def test_files_of_timm_and_of_the_authors_load(tmp_path):
    model, x = own_model(), torch.randn(2, 3, *SIZE)
    theirs = as_authors_name_them(model)
    contents = {
        "timm.pth": model.state_dict(),
        "authors.pth": theirs,
        "teacher.pth": {"teacher": {f"backbone.{k}": v for k, v in theirs.items()}},
    }
    for name, content in contents.items():
        torch.save(content, tmp_path / name)
        network = built().eval()
        report = load_timm_checkpoint(network, tmp_path / name)
        assert not [key for key in report.new if ".vit." in key and "fact" not in key]
        with torch.no_grad(), network.adapters_disabled():
            torch.testing.assert_close(network.image_encoder.patch_tokens(x, 1), own_tokens(model, x))


def test_one_channel_gives_what_three_equal_ones_give(tmp_path):
    torch.save(own_model().state_dict(), tmp_path / "timm.pth")
    one, three = built(channels=1).eval(), built(channels=3).eval()
    for network in (one, three):
        load_timm_checkpoint(network, tmp_path / "timm.pth")
    x = torch.randn(2, 1, *SIZE)
    with torch.no_grad(), one.adapters_disabled(), three.adapters_disabled():
        expected = three.image_encoder.patch_tokens(x.expand(-1, 3, -1, -1), 1)
        torch.testing.assert_close(one.image_encoder.patch_tokens(x, 1), expected, rtol=1e-4, atol=1e-4)


def test_biases_that_a_file_lacks_stay_zero(tmp_path):
    """timm publishes the same weights with and without them."""
    content = {k: v for k, v in own_model().state_dict().items() if not k.endswith(("q_bias", "v_bias"))}
    torch.save(content, tmp_path / "timm.pth")
    network = built()
    load_timm_checkpoint(network, tmp_path / "timm.pth")
    assert all((block.attn.q_bias == 0).all() for block in network.image_encoder.vit.blocks)


def test_other_files_are_refused_and_nothing_is_loaded(tmp_path):
    network = built()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="without patch_embed"):
        load_timm_checkpoint(network, tmp_path / "other.pth")
    torch.save({k: v for k, v in own_model().state_dict().items() if "blocks.1.mlp" not in k}, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match="of the encoder's"):
        load_timm_checkpoint(network, tmp_path / "part.pth")
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("timm:no_such_model", "has no model 'no_such_model'"),
        ("timm:resnet18", "not a plain ViT"),
        ("timm:vit_small_patch14_dinov2", "expected patches of 16"),
        ("timm:", "expected 'sam' or 'timm:NAME'"),
        ("dino", "expected 'sam' or 'timm:NAME'"),
    ],
)
def test_other_encoders_are_refused(encoder, message):
    with pytest.raises(ValueError, match=message):
        MASAM(1, 2, encoder=encoder, image_size=SIZE)


def test_without_weights_the_error_says_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("MASAM_CACHE", str(tmp_path))
    monkeypatch.delenv("MASAM_CHECKPOINT", raising=False)
    with pytest.raises(FileNotFoundError, match="MedDINOv3"):
        resolve_checkpoint(f"timm:{DINO}")
    (tmp_path / f"{DINO}.safetensors").touch()
    assert resolve_checkpoint(f"timm:{DINO}").parent == tmp_path


def test_planning_counts_its_parameters_and_stores_one_argument():
    network = built(channels=1)
    arguments = {"encoder": f"timm:{DINO}", "image_size": list(SIZE), "fact_rank": 4, "adapter_channels": 0}
    without_adapters = sum(p.numel() for n, p in network.named_parameters() if "adapters" not in n)
    assert count_parameters(Architecture.of(arguments), 2, 1)[0] == pytest.approx(without_adapters, rel=0.02)
    baseline = {
        "patch_size": [16, 320, 320], "median_image_size_in_voxels": [20, 320, 320], "spacing": [3.0, 0.6, 0.6],
        "normalization_schemes": ["ZScoreNormalization"],
    }  # fmt: skip
    planned = plan_configuration(baseline, PlanningRules(encoder=f"timm:{DINO}"), 2)
    arch_kwargs = planned["architecture"]["arch_kwargs"]
    assert arch_kwargs["encoder"] == f"timm:{DINO}"
    assert "vit" not in arch_kwargs
