"""Files made to hurt: each ends within seconds and bounded memory in one error that names the file."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import struct
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from nnunetv2_masam.files import sha256_of
from nnunetv2_masam.weights.formats import CheckpointError, read_sam_state_dict, recognise_file
from nnunetv2_masam.weights.published import CHECKPOINTS
from nnunetv2_masam.weights.safe_read import read_tensors

StateDict = dict[str, Tensor]
PATCH = "image_encoder.patch_embed.proj.weight"
SECONDS = 15
MEMORY = 1 << 30  # bytes that a reading process may ask for


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """The error of reading a file, in a process with a limit on time and memory; empty where there is none."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        torch.set_num_threads(1)  # a forked process has lost the threads of its parent
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            read(path)
            sender.send("")
        except BaseException as error:
            sender.send(f"{type(error).__name__}: {str(error)[:2000]}")
        os._exit(0)

    process = context.Process(target=child)
    process.start()
    sender.close()
    try:
        assert receiver.poll(SECONDS), f"{path.name}: not finished after {SECONDS} s"
        return receiver.recv()
    finally:
        process.kill()
        process.join()


def assert_ends_in_one_error(path: Path, match: str, read: Callable[[Path], Any] = read_sam_state_dict) -> None:
    said = outcome(read, path)
    assert said.startswith(f"CheckpointError: {path}: "), said
    assert match in said, said
    assert len(said) < 1500, "one sentence, whatever the file holds"


def repacked(source: Path, target: Path, compression: int, changed: dict[str, bytes] | None = None) -> Path:
    """The archive once more, by zipfile: compressed, or with other content in some entries."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            content = (changed or {}).get(name.split("/", 1)[1], old.read(name))
            new.writestr(name, content)
    return target


def archive_of(pickled: bytes, path: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_repacked_archive_gives_the_same_tensors(
    compression: int, sam_file: Path, sam_state_dict: StateDict, tmp_path: Path
) -> None:
    """By `zip`, a file server or an image of a disk: the tensors are right, whether they could be mapped or not."""
    got = read_sam_state_dict(repacked(sam_file, tmp_path / "repacked.pth", compression))
    assert got.keys() == sam_state_dict.keys()
    assert all(torch.equal(tensor, sam_state_dict[name]) for name, tensor in got.items())


@pytest.mark.parametrize("kept", [0, 8, 0.5])
def test_storage_record_of_another_size(kept: float, sam_file: Path, tmp_path: Path) -> None:
    """Mapped, a short one would end in the bytes of its neighbour."""
    with zipfile.ZipFile(sam_file) as archive:
        whole = archive.read("sam/data/3")
    short = whole[: int(kept * len(whole)) if kept < 1 else int(kept)]
    path = repacked(sam_file, tmp_path / "short.pth", zipfile.ZIP_STORED, {"data/3": short})
    assert_ends_in_one_error(path, f"sam/data/3 has {len(short)} bytes, its tensors need {len(whole)}")


def test_damage_is_noticed_by_the_checksum(sam_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(sam_file.read_bytes())
    content[len(content) // 2] ^= 1
    sam_file.write_bytes(content)
    assert_ends_in_one_error(sam_file, "is damaged (Bad CRC-32")
    assert recognise_file(sam_file).embed_dim == 32  # does not look at the values
    known = replace(CHECKPOINTS["vit_b"], sha256=sha256_of(sam_file))
    monkeypatch.setitem(CHECKPOINTS, "vit_b", known)  # then the checksums are wrong, not the file
    assert read_sam_state_dict(sam_file)


def test_archive_without_checksums_is_read(sam_state_dict: StateDict, tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(sam_state_dict, tmp_path / "sam.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_sam_state_dict(tmp_path / "sam.pth").keys() == sam_state_dict.keys()


def nested_shared(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"x": torch.zeros(1)}
    for _ in range(levels):
        inner = {"model": inner, "b": inner}
    return inner


def contains_itself() -> dict[str, Any]:
    outer: dict[str, Any] = {"x": torch.zeros(1)}
    outer["model"] = outer
    return outer


@pytest.mark.filterwarnings("ignore:.*(Sparse|nested tensors|TypedStorage|quant):UserWarning")
@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: {PATCH: torch.zeros(1).expand(60_000, 60_000)}, "strides (0, 0)"),
        (lambda: {PATCH: torch.zeros(9).as_strided((3, 3, 3), (1, 1, 1))}, "strides (1, 1, 1)"),
        (lambda: {f"x{i}": tensor for i, tensor in enumerate([torch.zeros(4096)] * 64)}, "64 tensors of"),
        (lambda: nested_shared(30), "more than 16 nested dicts"),
        (contains_itself, "contains itself"),
        (lambda: {PATCH: torch.zeros(4, 4).to_sparse()}, "a sparse tensor"),
        (lambda: {PATCH: torch.eye(4).to_sparse_csr()}, "a sparse tensor"),
        (lambda: {PATCH: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])}, "a nested tensor"),
        (lambda: {PATCH: torch.quantize_per_tensor(torch.zeros(4, 4), 0.1, 0, torch.qint8)}, "a quantised tensor"),
        (lambda: {"model": {PATCH: torch.zeros(4, device="meta")}}, f"got model.{PATCH} as a meta tensor"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_what_torch_would_build(build: Callable[[], Any], match: str, zipped: bool, tmp_path: Path) -> None:
    content = build()
    if match.startswith("64"):
        shared = torch.zeros(4096)
        content = {name: shared.view(64, 64) for name in content}
    torch.save(content, tmp_path / "hurt.pth", _use_new_zipfile_serialization=zipped)
    assert_ends_in_one_error(tmp_path / "hurt.pth", match)


def levels(count: int) -> bytes:
    return b"\x80\x02" + b"}X\x01\0\0\0a" * count + b"}" + b"s" * count + b"."


def tuples_of_tuples(count: int) -> bytes:
    """Hashing the last one takes 2^count steps."""
    return b"\x80\x02}K\x01\x85" + b"q\x00h\x00\x86" * count + b"K\x01s."


def called(name: bytes, number: int) -> bytes:
    return b"\x80\x02}X\x01\0\0\0ac" + name + b"\n\x8a\x06" + struct.pack("<q", number)[:6] + b"\x85Rs."


@pytest.mark.parametrize(
    ("pickled", "match"),
    [
        (levels(100_000), "nested dicts"),
        (b"\x80\x02" + b"N" * (64 << 20), "data.pkl has 67108866 bytes"),
        (b"\x80\x02" + b"}" * (3 << 20) + b".", "more than 2000000 opcodes"),
        (tuples_of_tuples(40), "keys are no names or numbers"),
        (called(b"torch\nFloatTensor", 1 << 40), "a call of torch.FloatTensor"),
        (called(b"builtins\nbytearray", 1 << 40), "a call of bytearray with a size"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "without tensors"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".", "damaged"),
        (b"\x80\x02h\x05.", "damaged"),
        (b"\x80\x02s.", "damaged"),
        (pickle.dumps({"a": bytearray(3)}, protocol=5), "which torch.save does not write"),
    ],
    ids=["levels", "bytes", "opcodes", "tuples", "tensor", "bytearray", "memo", "claim", "get", "stack", "protocol 5"],
)
def test_pickles_that_no_one_saved(pickled: bytes, match: str, tmp_path: Path) -> None:
    assert_ends_in_one_error(archive_of(pickled, tmp_path / "hurt.pth"), match)


def test_entries_that_become_too_large(tmp_path: Path) -> None:
    path = archive_of(b"\x80\x02}.", tmp_path / "hurt.pth")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(80 << 20))
    assert_ends_in_one_error(path, "unpacked it would have")


def test_two_entries_of_one_name(sam_file: Path) -> None:
    with zipfile.ZipFile(sam_file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("sam/data/3", b"other")
    assert_ends_in_one_error(sam_file, "two entries of it have the same name")


def test_safetensors_with_an_endless_header(tmp_path: Path) -> None:
    (tmp_path / "hurt.safetensors").write_bytes(struct.pack("<Q", 90 << 20) + b'{"a":' * (18 << 20))
    assert_ends_in_one_error(tmp_path / "hurt.safetensors", "a header of")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("key", [PATCH, "image_encoder.pos_embed", "image_encoder.blocks.1.attn.rel_pos_h"])
@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (2, 3, 4, 5, 6)], ids=str)
def test_tensors_of_other_shapes(
    shape: tuple[int, ...], key: str, suffix: str, sam_state_dict: StateDict, tmp_path: Path
) -> None:
    """In the places from which the ViT is recognised, where an index would be out of range."""
    content = {**sam_state_dict, key: torch.zeros(shape)}
    path = tmp_path / f"hurt{suffix}"
    save_file(content, path) if suffix == ".safetensors" else torch.save(content, path)
    assert_ends_in_one_error(path, "3D ViT" if (key, len(shape)) == (PATCH, 5) else key)


@pytest.mark.parametrize("number", ["x", "-1", "²", "9" * 5000])
def test_blocks_with_odd_numbers(number: str, sam_state_dict: StateDict, tmp_path: Path) -> None:
    names = {name.replace("blocks.1.", f"blocks.{number}."): tensor for name, tensor in sam_state_dict.items()}
    torch.save(names, tmp_path / "odd.pth")
    assert recognise_file(tmp_path / "odd.pth").depth == 1  # and loading says what the network lacks


def test_named_pipes_and_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2_masam.weights.search import find_checkpoint

    os.mkfifo(tmp_path / "pipe.pth")
    assert_ends_in_one_error(tmp_path / "pipe.pth", "a named pipe")
    assert_ends_in_one_error(Path("/dev/zero"), "a device")
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path / "pipe.pth"))
    assert_ends_in_one_error(tmp_path / "pipe.pth", "a named pipe", lambda path: find_checkpoint("vit_b"))


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, a piece cut out, doubled or set to zero, or the end missing."""
    changed = bytearray(content)
    start = int(rng.integers(len(content)))
    piece = slice(start, start + int(rng.integers(1, 200)))
    match rng.integers(5):
        case 0:
            for place in rng.integers(len(content), size=rng.integers(1, 8)):
                changed[place] = rng.integers(256)
        case 1:
            del changed[piece]
        case 2:
            changed[piece] = changed[piece] * 2
        case 3:
            changed[piece] = bytes(len(changed[piece]))
        case 4:
            del changed[start:]
    return bytes(changed)


@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("form", ["zip", "deflated", "pickle", "legacy", "safetensors"])
def test_damaged_at_random(form: str, count: int, tmp_path: Path) -> None:
    """An archive gives the right tensors or an error, whatever is damaged; the other forms nothing worse."""
    tensors = {f"part.{i}": torch.arange(float(3 * i + 1)) for i in range(4)}
    path = tmp_path / f"whole.{'safetensors' if form == 'safetensors' else 'pth'}"
    if form == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=form != "legacy")
    if form == "deflated":
        path = repacked(path, tmp_path / "deflated.pth", zipfile.ZIP_DEFLATED)
    whole = path.read_bytes()
    rng = np.random.default_rng(len(form))
    target = tmp_path / f"damaged{path.suffix}"
    refused = 0
    for _ in range(count):
        if form == "pickle":  # with a checksum that is right for it
            with zipfile.ZipFile(path) as archive:
                described = archive.read("whole/data.pkl")
            repacked(path, target, zipfile.ZIP_STORED, {"data.pkl": damaged(described, rng)})
        else:
            target.write_bytes(damaged(whole, rng))
        start = time.monotonic()
        try:
            got = read_tensors(target)
        except CheckpointError as error:
            message = str(error)
            refused += 1
        else:
            message = str(target)
            assert form not in ("zip", "deflated") or got.keys() == tensors.keys()
            for name in tensors if form in ("zip", "deflated") else ():
                assert torch.equal(got[name], tensors[name])
        assert message.startswith(str(target))
        assert time.monotonic() - start < 5
    assert refused > count // 10
