"""The order of search, and downloads from a local server that breaks, lies, dawdles or has nothing."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from nnunetv2_masam.weights import catalogue, download
from nnunetv2_masam.weights.catalogue import CHECKPOINTS, KnownCheckpoint
from nnunetv2_masam.weights.download import (
    cache_folder,
    download_checkpoint,
    find_sam_checkpoint,
    resolve_sam_checkpoint,
)
from nnunetv2_masam.weights.formats import CheckpointError

StateDict = dict[str, Tensor]
CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Server(ThreadingHTTPServer):
    """Answers request number i with behaviours[i] (the last one from then on) and counts the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.behaviours: list[Callable[[Handler], None]] = [whole]
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/sam.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        behaviours = self.server.behaviours
        behaviour = behaviours[min(self.server.requests, len(behaviours) - 1)]
        self.server.requests += 1
        behaviour(self)

    def start(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output quiet."""


def whole(handler: Handler) -> None:
    handler.start(len(handler.server.content))
    handler.wfile.write(handler.server.content)


def breaks_midway(handler: Handler) -> None:
    handler.start(len(handler.server.content))
    handler.wfile.write(handler.server.content[: len(handler.server.content) // 2])
    handler.close_connection = True


def shorter(handler: Handler) -> None:
    handler.start(10)
    handler.wfile.write(handler.server.content[:10])


def other_content(handler: Handler) -> None:
    handler.start(len(handler.server.content))
    handler.wfile.write(handler.server.content[::-1])


def slowly(handler: Handler) -> None:
    handler.start(len(handler.server.content))
    step = len(handler.server.content) // 8
    for start in range(0, len(handler.server.content), step):
        handler.wfile.write(handler.server.content[start : start + step])
        handler.wfile.flush()
        time.sleep(0.15)  # together longer than the time-out of the test


def stalls(handler: Handler) -> None:
    handler.start(len(handler.server.content))
    handler.wfile.write(handler.server.content[:100])
    handler.wfile.flush()
    time.sleep(4)


def has_nothing(handler: Handler) -> None:
    handler.send_error(404)


def overloaded(handler: Handler) -> None:
    handler.send_error(503)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, no named checkpoint, and pooch's second between two tries left out."""
    monkeypatch.setenv("MASAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MASAM_CHECKPOINT", raising=False)
    monkeypatch.delenv("MASAM_OFFLINE", raising=False)
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture
def known(server: Server) -> KnownCheckpoint:
    return replace(
        CHECKPOINTS["vit_b"],
        url=server.url,
        bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


@pytest.fixture
def as_vit_b(known: KnownCheckpoint, monkeypatch: pytest.MonkeyPatch) -> KnownCheckpoint:
    """The server's file stands in the catalogue as the official ViT-B."""
    monkeypatch.setitem(catalogue.CHECKPOINTS, "vit_b", known)
    return known


def assert_nothing_left(folder: Path) -> None:
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".lock")] == []


def test_download_appears_under_its_name(server: Server, known: KnownCheckpoint, tmp_path: Path) -> None:
    path = download_checkpoint(known, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / known.file_name
    assert path.read_bytes() == CONTENT
    assert download_checkpoint(known, path.parent) == path
    assert server.requests == 1


@pytest.mark.parametrize("first", [breaks_midway, other_content, shorter, overloaded])
def test_second_try_mends_a_passing_fault(
    first: Callable[[Handler], None], server: Server, known: KnownCheckpoint, tmp_path: Path
) -> None:
    server.behaviours = [first, whole]
    assert download_checkpoint(known, tmp_path).read_bytes() == CONTENT
    assert server.requests == 2


def test_connection_that_always_breaks(server: Server, known: KnownCheckpoint, tmp_path: Path) -> None:
    server.behaviours = [breaks_midway]
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        download_checkpoint(known, tmp_path)
    assert server.requests == 3
    assert_nothing_left(tmp_path)

    server.behaviours = [whole]
    assert download_checkpoint(known, tmp_path).read_bytes() == CONTENT


def test_wrong_hash_is_refused(server: Server, known: KnownCheckpoint, tmp_path: Path) -> None:
    server.behaviours = [other_content]
    got = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with pytest.raises(CheckpointError, match=f"{known.file_name}: got from .*{got}") as caught:
        download_checkpoint(known, tmp_path)
    assert f"expected {known.sha256}" in str(caught.value)
    assert_nothing_left(tmp_path)


def test_wrong_size_is_refused(server: Server, known: KnownCheckpoint, tmp_path: Path) -> None:
    server.behaviours = [shorter]
    with pytest.raises(CheckpointError, match=f"10 bytes instead of {len(CONTENT)}"):
        download_checkpoint(known, tmp_path)
    assert_nothing_left(tmp_path)


def test_slow_server_is_waited_for(server: Server, known: KnownCheckpoint, tmp_path: Path) -> None:
    server.behaviours = [slowly]
    assert download_checkpoint(known, tmp_path, timeout_s=1.0).read_bytes() == CONTENT
    assert server.requests == 1


def test_server_that_stalls_is_given_up(server: Server, known: KnownCheckpoint, tmp_path: Path) -> None:
    server.behaviours = [stalls]
    start = time.monotonic()
    with pytest.raises(FileNotFoundError, match="timed out"):
        download_checkpoint(known, tmp_path, timeout_s=0.2, retries=1)
    assert time.monotonic() - start < 3
    assert_nothing_left(tmp_path)


def test_missing_file_is_asked_for_once(server: Server, known: KnownCheckpoint, tmp_path: Path) -> None:
    server.behaviours = [has_nothing]
    with pytest.raises(FileNotFoundError, match="404"):
        download_checkpoint(known, tmp_path)
    assert server.requests == 1
    assert_nothing_left(tmp_path)


def test_unreachable_server(known: KnownCheckpoint, server: Server, tmp_path: Path) -> None:
    server.server_close()
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        download_checkpoint(known, tmp_path, retries=0)


def test_leftovers_of_a_killed_download_are_removed(known: KnownCheckpoint, tmp_path: Path) -> None:
    partial = tmp_path / f".partial-{known.file_name}"
    partial.mkdir()
    (partial / "tmp123").write_bytes(b"half")
    download_checkpoint(known, tmp_path)
    assert not partial.exists()


def test_too_little_space(known: KnownCheckpoint, server: Server, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{1 << 62} bytes are needed"):
        download_checkpoint(replace(known, bytes=1 << 62), tmp_path)
    assert server.requests == 0


def test_folder_that_cannot_be_made(known: KnownCheckpoint, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded to .*file"):
        download_checkpoint(known, tmp_path / "file")


def test_unhashed_file_must_read_as_its_vit(
    server: Server, known: KnownCheckpoint, sam_state_dict: StateDict, tmp_path: Path
) -> None:
    unhashed = replace(known, bytes=None, sha256=None)
    server.content = b"<html>please log in</html>"
    with pytest.raises(CheckpointError, match="HTML page"):
        download_checkpoint(unhashed, tmp_path)

    server.content = saved(sam_state_dict)
    with pytest.raises(CheckpointError, match="custom embed_dim=32, depth=2 instead of vit_b"):
        download_checkpoint(unhashed, tmp_path)
    assert_nothing_left(tmp_path)

    server.behaviours = [breaks_midway]
    with pytest.raises((CheckpointError, FileNotFoundError)):
        download_checkpoint(unhashed, tmp_path)
    assert_nothing_left(tmp_path)

    server.behaviours = [whole]
    fitting = replace(unhashed, vit="custom embed_dim=32, depth=2")
    assert download_checkpoint(fitting, tmp_path).read_bytes() == server.content


def saved(state_dict: StateDict) -> bytes:
    buffer = io.BytesIO()
    torch.save(state_dict, buffer)
    return buffer.getvalue()


def _download_in_child(known: KnownCheckpoint, folder: Path, start: float) -> None:
    time.sleep(max(0.0, start - time.time()))
    os.environ["MASAM_CACHE"] = str(folder)
    catalogue.CHECKPOINTS["vit_b"] = known
    assert resolve_sam_checkpoint("vit_b").read_bytes() == CONTENT


def test_processes_that_ask_together_fetch_once(server: Server, as_vit_b: KnownCheckpoint, tmp_path: Path) -> None:
    server.behaviours = [slowly]
    context = multiprocessing.get_context("fork")
    start = time.time() + 0.5
    children = [
        context.Process(target=_download_in_child, args=(as_vit_b, tmp_path / "shared", start)) for _ in range(3)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=20)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert server.requests == 1


def test_a_killed_holder_frees_the_lock(server: Server, as_vit_b: KnownCheckpoint, tmp_path: Path) -> None:
    server.behaviours = [stalls, whole]
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_download_in_child, args=(as_vit_b, cache_folder(), 0.0))
    child.start()
    while server.requests == 0:
        time.sleep(0.01)
    child.kill()
    child.join(timeout=10)
    assert not (cache_folder() / as_vit_b.file_name).exists()
    assert resolve_sam_checkpoint("vit_b").read_bytes() == CONTENT
    assert_only_file(cache_folder(), as_vit_b.file_name)


def assert_only_file(folder: Path, name: str) -> None:
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".lock")] == [name]


# --- order of search ---


def test_named_file_is_used_whatever_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server, as_vit_b: KnownCheckpoint
) -> None:
    download_checkpoint(as_vit_b, cache_folder())
    (tmp_path / "mine.bin").touch()
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path / "mine.bin"))
    assert resolve_sam_checkpoint("vit_b") == tmp_path / "mine.bin"
    assert resolve_sam_checkpoint("vit_t") == tmp_path / "mine.bin"


def test_named_file_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server, as_vit_b: KnownCheckpoint
) -> None:
    download_checkpoint(as_vit_b, cache_folder())
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path / "typo.pth"))
    with pytest.raises(FileNotFoundError, match=r"MASAM_CHECKPOINT names .*typo\.pth, which"):
        resolve_sam_checkpoint("vit_b")


def test_named_folder_known_names_come_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, as_vit_b: KnownCheckpoint, sam_file: Path
) -> None:
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path))
    (tmp_path / "medsam_vit_b.pth").touch()
    assert find_sam_checkpoint("vit_b") == tmp_path / "medsam_vit_b.pth"
    download_checkpoint(as_vit_b, tmp_path)
    assert find_sam_checkpoint("vit_b") == tmp_path / as_vit_b.file_name


def vit_b_file(path: Path) -> None:
    """A file with the shapes of a ViT-B, in a few kB: one value each, repeated by strides."""
    blocks = {f"image_encoder.blocks.{index}.attn.rel_pos_h": torch.zeros(1).expand(27, 64) for index in range(12)}
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(1).expand(768, 3, 16, 16), **blocks}, path)


def test_named_folder_the_only_fitting_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sam_file: Path, as_vit_b: KnownCheckpoint
) -> None:
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path))
    (tmp_path / "notes.pth").write_text("no weights")
    vit_b_file(tmp_path / "finetuned.pth")
    assert find_sam_checkpoint("vit_b") == tmp_path / "finetuned.pth"
    vit_b_file(tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"2 files for vit_b \(finetuned.pth, other.pth\)"):
        find_sam_checkpoint("vit_b")


def test_named_folder_without_weights_for_this_vit_is_said_aloud(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    sam_file: Path,
    as_vit_b: KnownCheckpoint,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (sam_file.parent / "broken.pth").touch()
    monkeypatch.setenv("MASAM_CHECKPOINT", str(sam_file.parent))
    assert resolve_sam_checkpoint("vit_b") == cache_folder() / as_vit_b.file_name
    said = capsys.readouterr().err
    assert "holds no weights for vit_b" in said
    assert "sam.pth: custom embed_dim=32, depth=2" in said
    assert "broken.pth: " in said
    assert "empty file" in said


def test_cached_file_is_used_without_asking(server: Server, as_vit_b: KnownCheckpoint) -> None:
    assert find_sam_checkpoint("vit_b") is None
    path = resolve_sam_checkpoint("vit_b")
    assert find_sam_checkpoint("vit_b") == path == cache_folder() / as_vit_b.file_name
    server.behaviours = [has_nothing]
    assert resolve_sam_checkpoint("vit_b") == path
    assert server.requests == 1


def test_cached_file_of_wrong_size_is_named_and_not_used(server: Server, as_vit_b: KnownCheckpoint) -> None:
    cache_folder().mkdir()
    path = cache_folder() / as_vit_b.file_name
    path.write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=f"{path}: got 11 bytes; expected {len(CONTENT)} bytes. It is not used"):
        resolve_sam_checkpoint("vit_b")
    assert path.read_bytes() == b"half a file"
    assert server.requests == 0


@pytest.mark.parametrize("value", ["1", "true", " ON "])
def test_offline_says_what_to_copy_where(
    value: str, monkeypatch: pytest.MonkeyPatch, server: Server, as_vit_b: KnownCheckpoint
) -> None:
    monkeypatch.setenv("MASAM_OFFLINE", value)
    with pytest.raises(FileNotFoundError, match="MASAM_OFFLINE is set") as caught:
        resolve_sam_checkpoint("vit_b")
    message = str(caught.value)
    for part in (
        "MASAM_CHECKPOINT: not set",
        str(cache_folder() / as_vit_b.file_name),
        f"{as_vit_b.bytes} bytes",
        f"sha256 {as_vit_b.sha256}",
        as_vit_b.url,
        "nnUNetv2_masam weights download vit_b --to",
        f"copy {as_vit_b.file_name} into {cache_folder()}",
    ):
        assert part in message
    assert server.requests == 0


@pytest.mark.parametrize("value", ["0", "", "false"])
def test_offline_switched_off(
    value: str, monkeypatch: pytest.MonkeyPatch, server: Server, as_vit_b: KnownCheckpoint
) -> None:
    monkeypatch.setenv("MASAM_OFFLINE", value)
    assert resolve_sam_checkpoint("vit_b").is_file()


def test_failed_download_says_what_to_copy_where(server: Server, as_vit_b: KnownCheckpoint) -> None:
    server.behaviours = [has_nothing]
    with pytest.raises(FileNotFoundError, match=f"404(.|\n)*copy {as_vit_b.file_name} into"):
        resolve_sam_checkpoint("vit_b")


def test_vit_without_a_known_file() -> None:
    assert find_sam_checkpoint("vit_t") is None
    with pytest.raises(FileNotFoundError, match="only vit_b, vit_l, vit_h can be downloaded"):
        resolve_sam_checkpoint("vit_t")


def test_cache_folder_of_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MASAM_CACHE")
    assert download.cache_folder().name == "nnunetv2_masam"
    monkeypatch.setenv("MASAM_CACHE", str(tmp_path))
    assert download.cache_folder() == tmp_path
