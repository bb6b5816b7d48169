"""Every accepted form of a SAM checkpoint gives the same official state dict."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from nnunetv2_masam.weights.formats import (
    CheckpointError,
    read_sam_checkpoint,
    read_sam_state_dict,
    read_tensors,
    recognise_file,
)
from nnunetv2_masam.weights.key_names import from_hf

StateDict = dict[str, Tensor]


def assert_same(ours: StateDict, theirs: StateDict) -> None:
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        assert tensor.dtype == torch.float32
        assert tensor.device.type == "cpu"
        assert torch.equal(tensor, theirs[key]), key


# official name: the one of transformers' modeling_sam.py
TO_HF = {
    r"image_encoder\.blocks\.(\d+)\.norm": r"vision_encoder.layers.\1.layer_norm",
    r"image_encoder\.blocks": "vision_encoder.layers",
    r"image_encoder\.patch_embed\.proj": "vision_encoder.patch_embed.projection",
    r"image_encoder\.neck\.0": "vision_encoder.neck.conv1",
    r"image_encoder\.neck\.1": "vision_encoder.neck.layer_norm1",
    r"image_encoder\.neck\.2": "vision_encoder.neck.conv2",
    r"image_encoder\.neck\.3": "vision_encoder.neck.layer_norm2",
    r"image_encoder": "vision_encoder",
    r"prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix": "shared_image_embedding.positional_embedding",
    r"point_embeddings": "point_embed",
    r"mask_downscaling\.0": "mask_embed.conv1",
    r"mask_downscaling\.1": "mask_embed.layer_norm1",
    r"mask_downscaling\.3": "mask_embed.conv2",
    r"mask_downscaling\.4": "mask_embed.layer_norm2",
    r"mask_downscaling\.6": "mask_embed.conv3",
    r"output_upscaling\.0": "upscale_conv1",
    r"output_upscaling\.1": "upscale_layer_norm",
    r"output_upscaling\.3": "upscale_conv2",
    r"transformer\.norm_final_attn": "transformer.layer_norm_final_attn",
    r"transformer\.layers\.(\d+)\.norm": r"transformer.layers.\1.layer_norm",
    r"(mlps\.\d+|iou_prediction_head)\.layers\.0": r"\1.proj_in",
    r"(mlps\.\d+|iou_prediction_head)\.layers\.2": r"\1.proj_out",
    r"(mlps\.\d+|iou_prediction_head)\.layers\.1": r"\1.layers.0",
}


def to_hf(state_dict: StateDict) -> StateDict:
    renamed = {}
    for key, tensor in state_dict.items():
        for official, theirs in TO_HF.items():
            key = re.sub(official, theirs, key)
        renamed[key] = tensor
    return renamed


@pytest.mark.parametrize(
    "wrap",
    [
        lambda sd: sd,
        lambda sd: {f"module.{key}": value for key, value in sd.items()},
        lambda sd: {f"model.{key}": value for key, value in sd.items()},
        lambda sd: {f"sam.{key}": value for key, value in sd.items()},
        lambda sd: {f"module.sam.{key}": value for key, value in sd.items()},
        lambda sd: {f"_orig_mod.{key}": value for key, value in sd.items()},
        lambda sd: {"model": sd, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}},
        lambda sd: {"state_dict": {f"model.{key}": value for key, value in sd.items()}, "epoch": 3},
        lambda sd: {"model_state_dict": sd},
        lambda sd: {"model": {"state_dict": sd}},
        lambda sd: {"model_state": {f"sam.{key}": value for key, value in sd.items()}, "decoder_state": {"x": sd}},
        lambda sd: {"model_state": sd, "decoder_state": OrderedDict(out=sd["image_encoder.pos_embed"])},
    ],
    ids=["official", "module.", "model.", "sam.", "module.sam.", "_orig_mod.", *"abcd", "micro-sam", "medico-sam"],
)
def test_wrapped_and_prefixed_files_give_the_official_names(
    wrap: Callable[[StateDict], dict[str, Any]], sam_state_dict: StateDict, tmp_path: Path
) -> None:
    torch.save(wrap(sam_state_dict), tmp_path / "sam.pth")
    assert_same(read_sam_state_dict(tmp_path / "sam.pth"), sam_state_dict)


def test_legacy_torch_format_is_read(sam_state_dict: StateDict, tmp_path: Path) -> None:
    torch.save(sam_state_dict, tmp_path / "sam.pth", _use_new_zipfile_serialization=False)
    assert_same(read_sam_state_dict(tmp_path / "sam.pth"), sam_state_dict)


def test_safetensors_with_official_names_is_read(sam_state_dict: StateDict, tmp_path: Path) -> None:
    save_file(sam_state_dict, tmp_path / "sam.safetensors")
    assert_same(read_sam_state_dict(tmp_path / "sam.safetensors"), sam_state_dict)


@pytest.mark.parametrize("file_name", ["model.safetensors", "pytorch_model.bin", "hf.pth"])
def test_hugging_face_names_are_translated(file_name: str, sam_state_dict: StateDict, tmp_path: Path) -> None:
    theirs = to_hf(sam_state_dict)
    if file_name.endswith(".safetensors"):
        save_file({key: tensor.clone() for key, tensor in theirs.items()}, tmp_path / file_name)
    else:
        torch.save(theirs, tmp_path / file_name)
    checkpoint = read_sam_checkpoint(tmp_path / file_name)
    assert checkpoint.naming == "Hugging Face SamModel"
    assert_same(checkpoint.state_dict, sam_state_dict)


# Literal names, as in transformers' modeling_sam.py and in the files of facebook/sam-vit-base, each before SAM's own.
LITERAL_NAMES = """
shared_image_embedding.positional_embedding prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
prompt_encoder.shared_embedding.positional_embedding prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
vision_encoder.pos_embed image_encoder.pos_embed
vision_encoder.patch_embed.projection.weight image_encoder.patch_embed.proj.weight
vision_encoder.layers.11.layer_norm2.bias image_encoder.blocks.11.norm2.bias
vision_encoder.layers.0.attn.rel_pos_w image_encoder.blocks.0.attn.rel_pos_w
vision_encoder.layers.31.mlp.lin1.weight image_encoder.blocks.31.mlp.lin1.weight
vision_encoder.neck.conv2.weight image_encoder.neck.2.weight
vision_encoder.neck.layer_norm2.weight image_encoder.neck.3.weight
prompt_encoder.point_embed.3.weight prompt_encoder.point_embeddings.3.weight
prompt_encoder.not_a_point_embed.weight prompt_encoder.not_a_point_embed.weight
prompt_encoder.no_mask_embed.weight prompt_encoder.no_mask_embed.weight
prompt_encoder.mask_embed.layer_norm2.weight prompt_encoder.mask_downscaling.4.weight
prompt_encoder.mask_embed.conv3.bias prompt_encoder.mask_downscaling.6.bias
mask_decoder.transformer.layers.0.layer_norm4.weight mask_decoder.transformer.layers.0.norm4.weight
mask_decoder.transformer.layer_norm_final_attn.bias mask_decoder.transformer.norm_final_attn.bias
mask_decoder.upscale_conv2.weight mask_decoder.output_upscaling.3.weight
mask_decoder.upscale_layer_norm.weight mask_decoder.output_upscaling.1.weight
mask_decoder.output_hypernetworks_mlps.2.proj_in.weight mask_decoder.output_hypernetworks_mlps.2.layers.0.weight
mask_decoder.output_hypernetworks_mlps.2.layers.0.weight mask_decoder.output_hypernetworks_mlps.2.layers.1.weight
mask_decoder.iou_prediction_head.proj_out.bias mask_decoder.iou_prediction_head.layers.2.bias
"""


@pytest.mark.parametrize("names", LITERAL_NAMES.strip().splitlines())
def test_literal_hugging_face_names(names: str) -> None:
    theirs, official = names.split()
    assert from_hf(theirs) == official


def test_an_attention_layer_has_the_same_name_in_both() -> None:
    name = "mask_decoder.transformer.layers.1.cross_attn_image_to_token.out_proj.weight"
    assert from_hf(name) == name


def test_shared_position_matrix_may_be_in_the_file_twice(sam_state_dict: StateDict, tmp_path: Path) -> None:
    theirs = to_hf(sam_state_dict)
    matrix = sam_state_dict["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    theirs["shared_image_embedding.positional_embedding"] = matrix
    theirs["prompt_encoder.shared_embedding.positional_embedding"] = matrix.clone()
    torch.save(theirs, tmp_path / "hf.bin")
    assert_same(read_sam_state_dict(tmp_path / "hf.bin"), sam_state_dict)

    theirs["prompt_encoder.shared_embedding.positional_embedding"] = matrix + 1
    torch.save(theirs, tmp_path / "hf.bin")
    with pytest.raises(CheckpointError, match="two different tensors for prompt_encoder"):
        read_sam_state_dict(tmp_path / "hf.bin")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(dtype: torch.dtype, sam_state_dict: StateDict, tmp_path: Path) -> None:
    stored = {key: tensor.to(dtype) for key, tensor in sam_state_dict.items()}
    torch.save(stored, tmp_path / "sam.pth")
    assert_same(read_sam_state_dict(tmp_path / "sam.pth"), {key: tensor.float() for key, tensor in stored.items()})


def test_extra_keys_are_kept(sam_state_dict: StateDict, tmp_path: Path) -> None:
    torch.save({**sam_state_dict, "step": torch.tensor(7)}, tmp_path / "sam.pth")
    assert read_sam_state_dict(tmp_path / "sam.pth")["step"].item() == 7


@pytest.mark.parametrize(
    ("rename", "added"),
    [
        ("", "image_encoder.blocks.0.Adapter.channel.0.weight"),  # SAM-Med2D
        ("qkv.qkv.", "image_encoder.blocks.0.attn.qkv.linear_a_q.weight"),  # LoRA as in SAMed
        ("qkv.qkv_proj.", "image_encoder.blocks.0.attn.qkv.w_a_linear_q.weight"),  # LoRA of micro-sam
        ("", "mask_decoder.hf_token.weight"),  # HQ-SAM
        ("", "mask_decoder.compress_vit_feat.0.weight"),
    ],
)
def test_adapters_of_other_methods_are_warned_of(
    rename: str, added: str, sam_state_dict: StateDict, tmp_path: Path
) -> None:
    theirs = {re.sub(r"(?<=attn\.)qkv\.", rename or "qkv.", key): value for key, value in sam_state_dict.items()}
    torch.save({"model": {**theirs, added: torch.zeros(4, 4)}}, tmp_path / "adapted.pth")
    checkpoint = read_sam_checkpoint(tmp_path / "adapted.pth")
    assert checkpoint.foreign == (added,)
    assert f"adapted.pth holds 1 tensors that SAM does not have ({added})" in (checkpoint.warning or "")
    assert_same({key: t for key, t in checkpoint.state_dict.items() if key != added}, sam_state_dict)


def test_no_warning_for_sam_itself(sam_file: Path) -> None:
    assert read_sam_checkpoint(sam_file).warning is None


def test_geometry_is_read_from_the_shapes(sam_file: Path) -> None:
    geometry = recognise_file(sam_file)
    assert (geometry.embed_dim, geometry.depth, geometry.num_heads) == (32, 2, 2)
    assert geometry.global_attn_indexes == (1,)
    assert geometry.image_size == (64, 64)
    assert geometry.preset is None
    assert str(geometry) == "custom embed_dim=32, depth=2"


def test_a_folder_with_one_weights_file_is_read(sam_file: Path, sam_state_dict: StateDict) -> None:
    (sam_file.parent / "config.json").write_text("{}")
    assert_same(read_sam_state_dict(sam_file.parent), sam_state_dict)


def test_a_hugging_face_folder_may_hold_both_forms(sam_state_dict: StateDict, tmp_path: Path) -> None:
    save_file(to_hf(sam_state_dict), tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(b"not read")
    assert read_sam_checkpoint(tmp_path).path.name == "model.safetensors"


def test_read_tensors_keeps_nested_tensors_only(tmp_path: Path) -> None:
    weight = torch.arange(3.0, requires_grad=True)
    torch.save({"a": weight, "b": {"c": weight * 2, "n": 1}, "d": [weight], "e": {"f": "x"}}, tmp_path / "x.pth")
    tensors = read_tensors(tmp_path / "x.pth")
    assert tensors.keys() == {"a", "b"}
    assert tensors["b"].keys() == {"c"}
    assert not tensors["a"].requires_grad
    assert tensors["b"]["c"].tolist() == [0.0, 2.0, 4.0]
