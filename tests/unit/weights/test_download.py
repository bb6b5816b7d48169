"""Downloads from a local server that breaks, lies, dawdles or has nothing."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
from torch import Tensor

from nnunetv2_masam.weights import published
from nnunetv2_masam.weights.download import download_checkpoint
from nnunetv2_masam.weights.formats import CheckpointError
from nnunetv2_masam.weights.published import PublishedCheckpoint
from nnunetv2_masam.weights.search import resolve_checkpoint

StateDict = dict[str, Tensor]


def assert_nothing_left(folder: Path) -> None:
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".lock")] == []


def test_download_appears_under_its_name(server: Any, known: PublishedCheckpoint, tmp_path: Path) -> None:
    path = download_checkpoint(known, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / known.file_name
    assert path.read_bytes() == server.content
    assert download_checkpoint(known, path.parent) == path
    assert server.requests == 1


def test_others_may_read_a_shared_cache(known: PublishedCheckpoint, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = download_checkpoint(known, tmp_path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("first", ["breaks_midway", "other_content", "shorter", "overloaded"])
def test_second_try_mends_a_passing_fault(first: str, server: Any, known: PublishedCheckpoint, tmp_path: Path) -> None:
    server.behaviours = [first, "whole"]
    assert download_checkpoint(known, tmp_path).read_bytes() == server.content
    assert server.requests == 2


def test_connection_that_always_breaks(server: Any, known: PublishedCheckpoint, tmp_path: Path) -> None:
    server.behaviours = ["breaks_midway"]
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        download_checkpoint(known, tmp_path)
    assert server.requests == 3
    assert_nothing_left(tmp_path)

    server.behaviours = ["whole"]
    assert download_checkpoint(known, tmp_path).read_bytes() == server.content


def test_wrong_hash_is_refused(server: Any, known: PublishedCheckpoint, tmp_path: Path) -> None:
    server.behaviours = ["other_content"]
    got = hashlib.sha256(server.content[::-1]).hexdigest()
    with pytest.raises(CheckpointError, match=f"{known.file_name}: got from .*{got}") as caught:
        download_checkpoint(known, tmp_path)
    assert f"expected {known.sha256}" in str(caught.value)
    assert_nothing_left(tmp_path)


def test_slow_server_is_waited_for(server: Any, known: PublishedCheckpoint, tmp_path: Path) -> None:
    server.behaviours = ["slowly"]
    assert download_checkpoint(known, tmp_path, timeout_s=1.0).read_bytes() == server.content
    assert server.requests == 1


def test_server_that_stalls_is_given_up(server: Any, known: PublishedCheckpoint, tmp_path: Path) -> None:
    server.behaviours = ["stalls"]
    start = time.monotonic()
    with pytest.raises(FileNotFoundError, match="timed out"):
        download_checkpoint(known, tmp_path, timeout_s=0.2, retries=1)
    assert time.monotonic() - start < 3
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [("breaks_midway", "could not be downloaded"), ("web_page", "an HTML page"), ("has_nothing", "404")],
)
def test_file_of_unknown_hash_is_no_web_page(
    behaviour: str, message: str, server: Any, unhashed: PublishedCheckpoint, tmp_path: Path
) -> None:
    server.behaviours = [behaviour]
    with pytest.raises((CheckpointError, FileNotFoundError), match=message):
        download_checkpoint(unhashed, tmp_path)
    assert_nothing_left(tmp_path)


def test_published_md5_is_compared(server: Any, unhashed: PublishedCheckpoint, tmp_path: Path) -> None:
    md5 = hashlib.md5(server.content).hexdigest()
    assert download_checkpoint(replace(unhashed, md5=md5), tmp_path / "right").is_file()
    with pytest.raises(CheckpointError, match=f"got from .*{md5}.*expected {md5[::-1]}"):
        download_checkpoint(replace(unhashed, md5=md5[::-1]), tmp_path / "wrong")
    assert_nothing_left(tmp_path / "wrong")


@pytest.mark.parametrize("name", ["sam.pt", "other.pt"])
def test_file_in_an_archive_is_unpacked(name: str, server: Any, unhashed: PublishedCheckpoint, tmp_path: Path) -> None:
    content, archive = server.content, io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(name, content)
    server.content = archive.getvalue()
    inside = replace(unhashed, member="sam.pt")
    if name == "sam.pt":
        assert download_checkpoint(inside, tmp_path).read_bytes() == content
        return
    with pytest.raises(CheckpointError, match=r"sam_hq_vit_b\.pth: got from .*an archive without sam\.pt"):
        download_checkpoint(inside, tmp_path)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("behaviour", ["trickles", "trickles_headers"])
def test_server_that_trickles_is_given_up(
    behaviour: str, server: Any, known: PublishedCheckpoint, tmp_path: Path
) -> None:
    """Each byte comes before the time-out of the socket, so only a bound of the whole ends it."""
    server.behaviours = [behaviour]
    start = time.monotonic()
    with pytest.raises(FileNotFoundError, match=r"not finished after 0\.4 s"):
        download_checkpoint(known, tmp_path, timeout_s=1.0, total_s=0.4)
    assert time.monotonic() - start < 2
    assert server.requests == 1
    assert_nothing_left(tmp_path)

    server.behaviours = ["whole"]
    assert download_checkpoint(known, tmp_path).read_bytes() == server.content


def test_waiting_for_another_process_ends(
    server: Any, known: PublishedCheckpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = filelock.FileLock(tmp_path / f".{known.file_name}.lock")
    with held, pytest.raises(FileNotFoundError, match=r"another process has held .*\.lock for 0\.3 s"):
        download_checkpoint(known, tmp_path, total_s=0.3)
    assert "Waiting for another process that downloads" in caplog.text
    assert server.requests == 0


def test_unreachable_server(known: PublishedCheckpoint, server: Any, tmp_path: Path) -> None:
    server.server_close()
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        download_checkpoint(known, tmp_path, retries=0)


def test_leftovers_of_a_killed_download_are_removed(known: PublishedCheckpoint, tmp_path: Path) -> None:
    partial = tmp_path / f".partial-{known.file_name}"
    partial.mkdir()
    (partial / "tmp123").write_bytes(b"half")
    download_checkpoint(known, tmp_path)
    assert not partial.exists()


def test_folder_that_cannot_be_made(known: PublishedCheckpoint, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded to .*File exists"):
        download_checkpoint(known, tmp_path / "file")


def test_file_system_without_locks(
    known: PublishedCheckpoint, server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded to .* flock"):
        download_checkpoint(known, tmp_path)
    assert server.requests == 0


def _download_in_child(known: PublishedCheckpoint, folder: Path, content: bytes, start: float) -> None:
    time.sleep(max(0.0, start - time.time()))
    os.environ["MASAM_CACHE"] = str(folder)
    published.CHECKPOINTS["vit_b"] = known
    assert resolve_checkpoint("vit_b").read_bytes() == content


def test_processes_that_ask_together_fetch_once(server: Any, as_vit_b: PublishedCheckpoint, tmp_path: Path) -> None:
    server.behaviours = ["slowly"]
    context = multiprocessing.get_context("fork")
    start = time.time() + 0.5
    children = [
        context.Process(target=_download_in_child, args=(as_vit_b, tmp_path / "shared", server.content, start))
        for _ in range(3)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=20)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert server.requests == 1


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_a_killed_holder_frees_the_lock(kills: int, server: Any, as_vit_b: PublishedCheckpoint, tmp_path: Path) -> None:
    """Killed at random times of a download: no half file under the name, and the next download works."""
    context = multiprocessing.get_context("fork")
    rng = np.random.default_rng(0)
    server.behaviours = ["slowly"]
    for number in range(kills):
        folder = tmp_path / f"killed-{number}"
        child = context.Process(target=_download_in_child, args=(as_vit_b, folder, server.content, 0.0))
        before = server.requests
        child.start()
        while server.requests == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        child.kill()
        child.join(timeout=10)
        assert not (folder / as_vit_b.file_name).exists()
        server.behaviours = ["whole"]
        assert download_checkpoint(as_vit_b, folder).read_bytes() == server.content
        assert_only_file(folder, as_vit_b.file_name)
        server.behaviours = ["slowly"]


def assert_only_file(folder: Path, name: str) -> None:
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".lock")] == [name]
