"""Bad files, one by one: each is one error with file, got, expected and remedy, and no code in it runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nnunetv2_masam.files import sha256_of
from nnunetv2_masam.weights import find_checkpoint
from nnunetv2_masam.weights.formats import CheckpointError, read_sam_state_dict, read_tensors, recognise_file
from nnunetv2_masam.weights.published import CHECKPOINTS
from nnunetv2_masam.weights.recognition import ViTGeometry

StateDict = dict[str, Tensor]
PATCH = "image_encoder.patch_embed.proj.weight"
POSITIONS = "image_encoder.pos_embed"
NECK = "image_encoder.neck.0.weight"
QKV = "image_encoder.blocks.1.attn.qkv.weight"
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


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_truncated_file(part: float, sam_file: Path) -> None:
    content = sam_file.read_bytes()
    sam_file.write_bytes(content[: int(len(content) * part)])
    assert_refused(sam_file, "truncated")


@pytest.mark.parametrize(
    ("file_name", "save", "match"),
    [
        ("sam.pth", partial(torch.save, _use_new_zipfile_serialization=False), "damaged or truncated"),
        ("sam.safetensors", save_file, "SafetensorError"),
    ],
)
def test_half_of_other_formats(
    file_name: str, save: Callable[..., None], match: str, sam_state_dict: StateDict, tmp_path: Path
) -> None:
    save(sam_state_dict, tmp_path / file_name)
    content = (tmp_path / file_name).read_bytes()
    (tmp_path / file_name).write_bytes(content[: len(content) // 2])
    assert_refused(tmp_path / file_name, match)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 20) + b'{"image_encoder": no}'[:20],
        struct.pack("<Q", 2) + b"{}",
        bytes(range(256)),
    ],
    ids=["header no JSON", "no tensors", "noise"],
)
def test_safetensors_with_a_wrong_header(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "sam.safetensors").write_bytes(content)
    assert_refused(tmp_path / "sam.safetensors", "SafetensorError|without tensors")


def test_zip_that_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sam.pth", "w") as archive:
        archive.writestr("photo.jpg", b"x")
    assert_refused(tmp_path / "sam.pth", r"zip archive that is no checkpoint \(it holds photo.jpg\)")


def repacked(source: Path, target: Path, compression: int) -> Path:
    """The archive once more, by zipfile."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return target


def test_repacked_archive_gives_the_same_tensors_or_says_why_not(
    sam_file: Path, sam_state_dict: StateDict, tmp_path: Path
) -> None:
    got = read_sam_state_dict(repacked(sam_file, tmp_path / "stored.pth", zipfile.ZIP_STORED))
    assert got.keys() == sam_state_dict.keys()
    assert all(torch.equal(tensor, sam_state_dict[name]) for name, tensor in got.items())
    deflated = repacked(sam_file, tmp_path / "deflated.pth", zipfile.ZIP_DEFLATED)
    assert_refused(deflated, r"packed again, with compression; expected .* without compression \(zip -r -0\)")


def test_damage_is_noticed_by_the_checksum(sam_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(sam_file.read_bytes())
    content[len(content) // 2] ^= 1
    sam_file.write_bytes(content)
    assert_refused(sam_file, r"whose entry sam/data/\d+ is damaged")
    assert isinstance(recognise_file(sam_file), ViTGeometry)  # does not look at the values
    known = replace(CHECKPOINTS["vit_b"], sha256=sha256_of(sam_file))
    monkeypatch.setitem(CHECKPOINTS, "vit_b", known)  # then the checksums are wrong, not the file
    assert read_sam_state_dict(sam_file)


@pytest.mark.filterwarnings("ignore:.*crc32:UserWarning")
def test_archive_without_checksums_is_read(sam_state_dict: StateDict, tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(sam_state_dict, tmp_path / "sam.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_sam_state_dict(tmp_path / "sam.pth").keys() == sam_state_dict.keys()


def test_two_entries_of_one_name(sam_file: Path) -> None:
    with zipfile.ZipFile(sam_file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("sam/data/3", b"other")
    assert_refused(sam_file, "two entries have the same name")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("key", [PATCH, POSITIONS, "image_encoder.blocks.1.attn.rel_pos_h"])
@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (2, 3, 4, 5, 6)], ids=str)
def test_tensors_of_other_shapes(
    shape: tuple[int, ...], key: str, suffix: str, sam_state_dict: StateDict, tmp_path: Path
) -> None:
    """In the places from which the ViT is recognised, where an index would be out of range."""
    content = {**sam_state_dict, key: torch.zeros(shape)}
    path = tmp_path / f"other{suffix}"
    save_file(content, path) if suffix == ".safetensors" else torch.save(content, path)
    assert_refused(path, "3D ViT" if (key, len(shape)) == (PATCH, 5) else key)


@pytest.mark.parametrize("number", ["x", "-1", "²", "9" * 5000])
def test_blocks_with_odd_numbers(number: str, sam_state_dict: StateDict, tmp_path: Path) -> None:
    names = {name.replace("blocks.1.", f"blocks.{number}."): tensor for name, tensor in sam_state_dict.items()}
    torch.save(names, tmp_path / "odd.pth")
    found = recognise_file(tmp_path / "odd.pth")
    assert isinstance(found, ViTGeometry)
    assert found.depth == 1  # and loading says what the network lacks


def test_named_pipes_and_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    assert_refused(tmp_path / "pipe.pth", "a named pipe")
    assert_refused(Path("/dev/zero"), "a device")
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path / "pipe.pth"))
    with pytest.raises(CheckpointError, match="a named pipe"):
        find_checkpoint("vit_b")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "sam.pth")
    assert_refused(tmp_path / "sam.pth", "TorchScript")


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


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty file"),
        (b"\x00\xff" * 500, "1000 bytes of no known format"),
        ("é".join("x" * 400).encode()[:512] + b"\xa9", "text file"),  # cut inside a character
        (pickle.dumps({"a": [1, 2]}, protocol=2), "Invalid magic number"),  # which torch did not write
    ],
    ids=["empty", "noise", "cut text", "pickle"],
)
def test_other_bytes(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "sam.pth").write_bytes(content)
    assert_refused(tmp_path / "sam.pth", match)


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


CONTENTS: dict[str, tuple[Callable[[StateDict], Any], str]] = {
    "sparse": (
        lambda sam: {**sam, NECK: torch.eye(4).to_sparse()},
        r"image_encoder\.neck\.0\.weight as a sparse, nested or meta tensor",
    ),
    "meta": (lambda sam: {**sam, NECK: torch.zeros(4, device="meta")}, "as a sparse, nested or meta tensor"),
    "module": (
        lambda sam: nn.Linear(2, 2),
        r"pickled code \(it wants to call torch\.nn\.modules\.linear\.Linear\)",
    ),
    "numbers": (lambda sam: {"epoch": 3, "loss": [0.5]}, r"dict without tensors \(keys: epoch, loss\)"),
    "nothing": (lambda sam: {}, r"dict without tensors \(keys: none\)"),
    "list": (lambda sam: [torch.zeros(2)], "a list"),
    "tensor": (lambda sam: torch.zeros(2), "a Tensor"),
    "nnU-Net": (
        lambda sam: {
            "network_weights": {"encoder.stem.weight": torch.zeros(1)},
            "logging": {"mean_fg_dice": [np.float32(0.5)]},
            "trainer_name": "nnUNetTrainer",
        },
        "an nnU-Net checkpoint",
    ),
    "unknown wrapper": (
        lambda sam: {"ema": {"net": sam}},
        r"something else \(keys: ema with keys: net with keys: image_encoder\.pos_embed, .*"
        "If SAM's weights are in an inner dict, save that",
    ),
    "missing blocks": (
        lambda sam: {key: tensor for key, tensor in sam.items() if ".blocks.0." not in key},
        r"a patch embedding and blocks \[1\]",
    ),
    "too large for float32": (
        lambda sam: {**sam, POSITIONS: sam[POSITIONS].double() + 1e300},
        "NaN or infinite values",
    ),
    "two models": (
        lambda sam: {
            f"{prefix}.{key}": t + n for n, prefix in enumerate(("model", "module")) for key, t in sam.items()
        },
        "two different tensors",
    ),
    **{
        str(dtype): (lambda sam, dtype=dtype: {**sam, QKV: sam[QKV].to(dtype)}, rf"got {QKV} as {dtype}")
        for dtype in (torch.int8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn)
    },
}


@pytest.mark.filterwarnings("ignore:.*(Sparse|sparse|nested tensors):UserWarning")
@pytest.mark.parametrize("kind", CONTENTS)
def test_contents_that_are_refused(kind: str, sam_state_dict: StateDict, tmp_path: Path) -> None:
    content, match = CONTENTS[kind]
    torch.save(content(sam_state_dict), tmp_path / "sam.pth")
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


def test_training_checkpoint_of_micro_sam_says_how_to_export_it(
    sam_state_dict: StateDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loaders and losses are pickled with it."""
    module = ModuleType("torch_em")
    module.Loss = type("Loss", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    model = {f"sam.{key}": tensor for key, tensor in sam_state_dict.items()}
    torch.save({"model_state": model, "init": {"loss": module.Loss()}}, tmp_path / "best.pt")
    assert_refused(tmp_path / "best.pt", r"call torch_em\.Loss\).*export_custom_sam_model")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_values_that_are_not_finite(
    value: float, dtype: torch.dtype, sam_state_dict: StateDict, tmp_path: Path
) -> None:
    broken = {key: tensor.clone().to(dtype) for key, tensor in sam_state_dict.items()}
    broken["image_encoder.neck.2.weight"].view(-1)[5:7] = value
    torch.save(broken, tmp_path / "sam.pth")
    assert_refused(tmp_path / "sam.pth", r"2 NaN or infinite values in image_encoder\.neck\.2\.weight")


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
    assert_refused(tmp_path / "sam.pth", "cannot be read .*data/5")
