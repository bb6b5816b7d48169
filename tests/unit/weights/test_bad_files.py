"""Bad files, one by one: each is one error with file, got, expected and remedy, and no code in it runs."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nnunetv2_masam.weights.formats import CheckpointError, read_sam_state_dict, read_tensors

StateDict = dict[str, Tensor]
TOUCHED = "code-was-executed"


class RunsCode:
    """Unpickling it with plain pickle creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


def assert_refused(path: Path, match: str, read: Callable[[Path], Any] = read_sam_state_dict) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "got " in message
    assert "expected " in message
    assert message.endswith(".")  # the remedy is a sentence


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such checkpoint: .*sam\.pth"):
        read_sam_state_dict(tmp_path / "sam.pth")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "sam.pth").touch()
    assert_refused(tmp_path / "sam.pth", "empty file")


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_truncated_file(part: float, sam_file: Path) -> None:
    content = sam_file.read_bytes()
    sam_file.write_bytes(content[: int(len(content) * part)])
    assert_refused(sam_file, "truncated")


def test_truncated_legacy_file(sam_state_dict: StateDict, tmp_path: Path) -> None:
    torch.save(sam_state_dict, tmp_path / "sam.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "sam.pth").read_bytes()
    (tmp_path / "sam.pth").write_bytes(content[: len(content) // 2])
    assert_refused(tmp_path / "sam.pth", "damaged or truncated")


def test_truncated_safetensors(sam_state_dict: StateDict, tmp_path: Path) -> None:
    save_file(sam_state_dict, tmp_path / "sam.safetensors")
    content = (tmp_path / "sam.safetensors").read_bytes()
    (tmp_path / "sam.safetensors").write_bytes(content[: len(content) // 2])
    assert_refused(tmp_path / "sam.safetensors", "no valid safetensors")


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 20) + b'{"image_encoder": no}'[:20],
        struct.pack("<Q", 2) + b"{}",
        bytes(range(256)),
    ],
    ids=["header too large", "header no JSON", "no tensors", "noise"],
)
def test_safetensors_with_a_wrong_header(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "sam.safetensors").write_bytes(content)
    assert_refused(tmp_path / "sam.safetensors", "no valid safetensors|without tensors")


def test_zip_that_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sam.pth", "w") as archive:
        archive.writestr("photo.jpg", b"x")
    assert_refused(tmp_path / "sam.pth", r"zip archive that is no checkpoint \(it holds photo.jpg\)")


def test_zip_with_a_damaged_pickle(sam_file: Path) -> None:
    with zipfile.ZipFile(sam_file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00(X\xff")
        archive.writestr("archive/version", b"3\n")
    assert_refused(sam_file, "damaged|no tensor checkpoint")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "sam.pth")
    assert_refused(tmp_path / "sam.pth", "TorchScript")


def test_noise(tmp_path: Path) -> None:
    (tmp_path / "sam.pth").write_bytes(b"\x00\xff" * 500)
    assert_refused(tmp_path / "sam.pth", "1000 bytes of no known format")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "HTML page"),
        (b"  <html><body>Please log in \xc3\xa9" + b"x" * 600, "HTML page"),
        (b"AccessDenied\n", "text file starting with b'AccessDenied"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 375042383\n", "git lfs pull"),
    ],
    ids=["html", "long html", "text", "git lfs pointer"],
)
@pytest.mark.parametrize("file_name", ["sam.pth", "sam.safetensors"])
def test_text_saved_as_weights(content: bytes, match: str, file_name: str, tmp_path: Path) -> None:
    (tmp_path / file_name).write_bytes(content)
    assert_refused(tmp_path / file_name, match)


def test_text_cut_inside_a_character_is_still_text(tmp_path: Path) -> None:
    (tmp_path / "sam.pth").write_bytes("é".join("x" * 400).encode()[:512] + b"\xa9")
    assert_refused(tmp_path / "sam.pth", "text file")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickled_code_is_not_executed(zipped: bool, sam_state_dict: StateDict, tmp_path: Path) -> None:
    marker = tmp_path / TOUCHED
    checkpoint = {**sam_state_dict, "extra": RunsCode(marker)}
    torch.save(checkpoint, tmp_path / "sam.pth", _use_new_zipfile_serialization=zipped)
    for read in (read_sam_state_dict, read_tensors):
        assert_refused(tmp_path / "sam.pth", r"pickled code \(it wants to call \S*exec", read)
    assert not marker.exists()

    torch.load(tmp_path / "sam.pth", weights_only=False)  # the same file, read without care, does run it
    assert marker.exists()


def test_plain_pickle_with_code_is_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / TOUCHED
    (tmp_path / "sam.pth").write_bytes(pickle.dumps(RunsCode(marker), protocol=2))
    assert_refused(tmp_path / "sam.pth", "pickled code")
    assert not marker.exists()


def test_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "sam.pth")
    assert_refused(tmp_path / "sam.pth", r"pickled code \(it wants to call torch\.nn\.modules\.linear\.Linear\)")


def test_pickle_that_torch_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "sam.pth").write_bytes(pickle.dumps({"a": [1, 2]}, protocol=2))
    assert_refused(tmp_path / "sam.pth", "Invalid magic number")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"epoch": 3, "loss": [0.5]}, r"dict without tensors \(keys: epoch, loss\)"),
        ({}, r"dict without tensors \(keys: none\)"),
        ([torch.zeros(2)], "a list"),
        (torch.zeros(2), "a Tensor"),
    ],
    ids=["numbers", "empty", "list", "tensor"],
)
def test_no_dict_of_tensors(content: Any, match: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "sam.pth")
    assert_refused(tmp_path / "sam.pth", match)


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        (["network_weights.x"], "something else"),
        (["q_FacTs_000", "FacTu.weight", "mask_decoder.iou_token.weight"], "import-masam"),
        (["image_encoder.trunk.blocks.0.norm1.weight"], "SAM 2"),
        (["vision_encoder.backbone.patch_embed.weight"], "SAM 2"),
        (["image_encoder.rep_vit.0.c.weight"], "neither SAM's ViT nor a TinyViT"),
        (["vit.encoder.layer.0.weight"], "something else"),
    ],
    ids=["other", "authors", "sam2", "hf sam2", "rep vit", "hf vit"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_another_network(keys: list[str], match: str, suffix: str, tmp_path: Path) -> None:
    tensors = {key: torch.zeros(1) for key in keys}
    path = tmp_path / f"other{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    assert_refused(path, match)


@pytest.mark.parametrize("logging", [[0.5], [torch.nn.Linear]], ids=["loadable", "with globals"])
def test_nnunet_checkpoint_is_named_as_such(logging: list[Any], tmp_path: Path) -> None:
    checkpoint = {
        "network_weights": {"encoder.stem.weight": torch.zeros(1)},
        "logging": logging,
        "trainer_name": "nnUNetTrainer",
    }
    torch.save(checkpoint, tmp_path / "checkpoint_final.pth")
    assert_refused(tmp_path / "checkpoint_final.pth", "an nnU-Net checkpoint")


def test_training_checkpoint_of_micro_sam_says_how_to_export_it(sam_state_dict: StateDict, tmp_path: Path) -> None:
    """Its loaders and losses are pickled with it."""
    model = {f"sam.{key}": tensor for key, tensor in sam_state_dict.items()}
    content = {"model_state": model, "optimizer_state": {}, "init": {"loss": nn.MSELoss()}}
    torch.save(content, tmp_path / "best.pt")
    assert_refused(tmp_path / "best.pt", r"torch_em \(micro-sam\).*MSELoss.*export_custom_sam_model")


def test_missing_blocks(sam_state_dict: StateDict, tmp_path: Path) -> None:
    kept = {key: tensor for key, tensor in sam_state_dict.items() if ".blocks.0." not in key}
    torch.save(kept, tmp_path / "sam.pth")
    assert_refused(tmp_path / "sam.pth", r"a patch embedding and blocks \[1\]")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_values_that_are_not_finite(
    value: float, dtype: torch.dtype, sam_state_dict: StateDict, tmp_path: Path
) -> None:
    broken = {key: tensor.clone().to(dtype) for key, tensor in sam_state_dict.items()}
    broken["image_encoder.neck.2.weight"].view(-1)[5:7] = value
    torch.save(broken, tmp_path / "sam.pth")
    assert_refused(tmp_path / "sam.pth", r"2 NaN or infinite values in image_encoder\.neck\.2\.weight")


def test_values_too_large_for_float32(sam_state_dict: StateDict, tmp_path: Path) -> None:
    key = "image_encoder.pos_embed"
    torch.save({**sam_state_dict, key: sam_state_dict[key].double() + 1e300}, tmp_path / "sam.pth")
    assert_refused(tmp_path / "sam.pth", "NaN or infinite values")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_that_are_no_floats(dtype: torch.dtype, sam_state_dict: StateDict, tmp_path: Path) -> None:
    key = "image_encoder.blocks.1.attn.qkv.weight"
    torch.save({**sam_state_dict, key: sam_state_dict[key].to(dtype)}, tmp_path / "sam.pth")
    assert_refused(tmp_path / "sam.pth", rf"got {key} as {dtype}")


def test_two_models_under_different_prefixes(sam_state_dict: StateDict, tmp_path: Path) -> None:
    student = {f"model.{key}": tensor for key, tensor in sam_state_dict.items()}
    average = {f"module.{key}": tensor + 1 for key, tensor in sam_state_dict.items()}
    torch.save({**student, **average}, tmp_path / "sam.pth")
    assert_refused(tmp_path / "sam.pth", "two different tensors")


def test_folders(tmp_path: Path, sam_state_dict: StateDict) -> None:
    with pytest.raises(FileNotFoundError, match="no weights file"):
        read_sam_state_dict(tmp_path)
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    (tmp_path / "model-00002-of-00002.safetensors").touch()
    with pytest.raises(CheckpointError, match="a folder with 2 weights files"):
        read_sam_state_dict(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="split into shards"):
        read_sam_state_dict(tmp_path)


def test_archive_whose_storage_is_missing(sam_state_dict: StateDict, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(sam_state_dict, buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(tmp_path / "sam.pth", "w") as partial:
        for name in whole.namelist():
            if not name.endswith("/data/5"):
                partial.writestr(name, whole.read(name))
    assert_refused(tmp_path / "sam.pth", "the entry archive/data/5 is missing")
