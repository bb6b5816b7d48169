"""Checkpoints into the network: what the report says, what is fitted, what is refused."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.weights import CheckpointError, load_masam_checkpoint, load_sam_checkpoint
from nnunetv2_masam.weights.load import masam_name
from tests.conftest import TINY_VIT


def build(image_size=(64, 64), input_channels=3, num_classes=2, **kwargs) -> MASAM:
    arguments = {"vit": TINY_VIT, "fact_rank": 4, "adapter_channels": 8, **kwargs}
    return MASAM(input_channels, num_classes, image_size=image_size, **arguments)


@pytest.fixture
def sam_file(tmp_path):
    """A file in SAM's format, with a network of ours as its source; what MA-SAM does not take is added."""
    torch.manual_seed(1)
    state = build(image_size=(128, 128), fact_rank=0, adapter_channels=0).state_dict()
    sam = {name: torch.randn_like(tensor) for name, tensor in state.items() if ".seg_layers." not in name}
    for late in ("6", "7", "9"):  # SAM upsamples twice only
        sam = {name: t for name, t in sam.items() if not name.startswith(f"mask_decoder.output_upscaling.{late}.")}
    sam["mask_decoder.mask_tokens.weight"] = torch.randn(4, 256)
    sam["mask_decoder.iou_prediction_head.layers.0.weight"] = torch.randn(256, 256)
    path = tmp_path / "sam.pth"
    torch.save(sam, path)
    return path, sam


def test_report_accounts_for_every_key(sam_file):
    path, sam = sam_file
    network = build()
    report = load_sam_checkpoint(network, path)
    own = set(network.state_dict())
    assert {*report.loaded, *report.resized, *report.new} == own
    assert {*report.loaded, *report.resized, *report.refused} == set(sam)
    assert set(report.resized) == {
        "image_encoder.pos_embed",
        "image_encoder.blocks.1.attn.rel_pos_h",
        "image_encoder.blocks.1.attn.rel_pos_w",
    }
    assert all("fact" in n or "adapter_" in n or "seg_layers" in n or "upscaling" in n for n in report.new)
    assert "resized: image_encoder.pos_embed" in str(report)


def test_loaded_values_are_the_files(sam_file):
    path, sam = sam_file
    network = build()
    report = load_sam_checkpoint(network, path)
    state = network.state_dict()
    for name in report.loaded:
        assert torch.equal(state[name], sam[name]), name


def test_the_decoder_can_start_anew(sam_file):
    path, _ = sam_file
    network = build()
    before = {name: tensor.clone() for name, tensor in network.mask_decoder.state_dict().items()}
    report = load_sam_checkpoint(network, path, decoder=False)
    after = network.mask_decoder.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {name.partition(".")[0] for name in report.loaded} == {"image_encoder", "prompt_encoder"}
    assert "mask_decoder.transformer.norm_final_attn.weight" in report.refused
    assert not report.warnings


@pytest.mark.parametrize("image_size", [(32, 32), (128, 128), (48, 160)])
def test_position_tables_fit_any_size(sam_file, image_size):
    network = build(image_size=image_size)
    report = load_sam_checkpoint(network, sam_file[0])
    assert network(torch.randn(1, 3, 2, 40, 40)).shape == (1, 2, 2, 40, 40)
    assert bool(report.resized) == (image_size != (128, 128))


def test_one_channel_equals_the_channel_repeated(sam_file):
    one, three = build(input_channels=1), build(input_channels=3)
    load_sam_checkpoint(one, sam_file[0])
    load_sam_checkpoint(three, sam_file[0])
    x = torch.randn(1, 1, 64, 64)
    repeated = three.image_encoder.patch_embed(x.expand(-1, 3, -1, -1))
    tolerance = 1e-5 * repeated.abs().max().item()
    torch.testing.assert_close(one.image_encoder.patch_embed(x), repeated, rtol=0, atol=tolerance)


def test_more_channels_start_as_their_mean(sam_file):
    four, one = build(input_channels=4), build(input_channels=1)
    load_sam_checkpoint(four, sam_file[0])
    load_sam_checkpoint(one, sam_file[0])
    x = torch.randn(1, 4, 64, 64)
    torch.testing.assert_close(
        four.image_encoder.patch_embed(x), one.image_encoder.patch_embed(x.mean(1, keepdim=True)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("change", [{"embed_dim": 64}, {"depth": 3}, {"num_heads": 4}], ids=["width", "depth", "heads"])
def test_another_vit_is_refused_and_nothing_loaded(sam_file, change):
    network = build(vit={**TINY_VIT, **change})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(
        CheckpointError,
        match="got a ViT of width 32 with 2 blocks and 2 heads; expected the network's encoder, a ViT of",
    ):
        load_sam_checkpoint(network, sam_file[0])
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_missing_part_of_the_encoder_is_refused(sam_file):
    path, sam = sam_file
    missing = "image_encoder.blocks.1.mlp.lin2.weight"
    torch.save({name: tensor for name, tensor in sam.items() if name != missing}, path)
    with pytest.raises(CheckpointError, match=rf"a file without 1 tensors of SAM's image encoder \({missing}\)"):
        load_sam_checkpoint(build(), path)


def test_what_is_lost_is_logged_and_reported(sam_file, caplog):
    """Adapters of another method; an encoder without the rest of SAM."""
    path, sam = sam_file
    adapter = "image_encoder.blocks.0.Adapter.channel.0.weight"
    torch.save({**sam, adapter: torch.zeros(8, 32)}, path)
    report = load_sam_checkpoint(build(), path)
    assert report.refused[adapter] == "the network has no such tensor"
    assert "WARNING: sam.pth holds 1 tensors that SAM does not have" in str(report)
    assert [record.getMessage() for record in caplog.records] == report.warnings

    torch.save({name: tensor for name, tensor in sam.items() if name.startswith("image_encoder.")}, path)
    assert [warning.split(";")[0] for warning in load_sam_checkpoint(build(), path).warnings] == [
        "sam.pth has no prompt_encoder.…",
        "sam.pth has no mask_decoder.transformer.…",
    ]


@pytest.mark.parametrize("shape", [(), (7,), (2, 2), (1, 2, 3, 4, 5)], ids=str)
def test_tensors_of_other_dimensions_are_refused(sam_file, shape):
    path, sam = sam_file
    for name in ("image_encoder.neck.1.weight", "mask_decoder.iou_token.weight", "image_encoder.pos_embed"):
        if len(shape) != sam[name].ndim:
            torch.save({**sam, name: torch.zeros(shape)}, path)
            with pytest.raises(CheckpointError, match=name):
                load_sam_checkpoint(build(), path)


def test_names_of_the_authors():
    block = "image_encoder.ImageEncoderViT.blocks.7.Block."
    assert masam_name("q_FacTs_007") == "image_encoder.blocks.7.attn.fact.q.weight"
    assert masam_name("v_FacTs_031") == "image_encoder.blocks.31.attn.fact.v.weight"
    assert masam_name("image_encoder.FacTu.weight") == "image_encoder.fact.u.weight"
    assert masam_name(block + "adapter_linear_down.weight") == "image_encoder.blocks.7.adapter_1.down.weight"
    assert masam_name(block + "adapter_linear_up_2.weight") == "image_encoder.blocks.7.adapter_2.up.weight"
    assert masam_name(block + "adapter_conv_2.bias") == "image_encoder.blocks.7.adapter_2.conv.bias"
    assert masam_name(block + "adapter_norm.weight") == "image_encoder.blocks.7.adapter_1.norm.weight"
    assert masam_name("mask_decoder.iou_token.weight") == "mask_decoder.iou_token.weight"


def test_masam_file_with_other_sizes_is_refused(golden):
    network = golden.network(1)
    other = MASAM(1, 9, vit=network.vit, image_size=network.image_size, fact_rank=4)
    with pytest.raises(CheckpointError, match="do not fit the network"):
        load_masam_checkpoint(other, golden.masam_adapt)


@pytest.mark.parametrize("golden", ["tiny"], indirect=True)
def test_masam_file_is_held_to_what_sam_files_are(golden, tmp_path):
    content = torch.load(golden.masam_adapt, weights_only=True)
    network, name = golden.network(1), "q_FacTs_000"
    no_floats = (torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn)
    cases = [(dtype, f"{name} as {dtype}") for dtype in no_floats]
    cases += [(dtype, f"NaN or infinite values in {name}") for dtype in (torch.float16, torch.float32)]
    for dtype, match in cases:
        torch.save({**content, name: (content[name] * float("inf")).to(dtype)}, tmp_path / "bad.pth")
        with pytest.raises(CheckpointError, match=match):
            load_masam_checkpoint(network, tmp_path / "bad.pth")


def test_sam_file_is_no_masam_file(sam_file):
    with pytest.raises(CheckpointError, match="load_sam_checkpoint"):
        load_masam_checkpoint(build(), sam_file[0])
