"""Files and folders are whole or not there, whatever happens to the process that writes them."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nnunetv2_masam.files import atomic_file, atomic_folder, env_flag, read_json, shortened, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_is_replaced_at_the_end_only(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_text("old")
    with atomic_file(path) as partial:
        assert partial.name == path.name  # writers look at the ending
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.nii.gz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(error), atomic_file(path) as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_nothing_written_changes_nothing(tmp_path):
    with atomic_file(tmp_path / "a"):
        pass
    assert names(tmp_path) == []


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "checkpoint_latest.pth"
    link.symlink_to(tmp_path / "disk" / "real.pth")
    write_text(link, "content")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.pth").read_text() == "content"


def test_writers_do_not_share_a_partial_file(tmp_path):
    path = tmp_path / "a"
    contents = [str(number) * 100_000 for number in range(8)]

    def write(content: str) -> None:
        for _ in range(10):
            write_text(path, content)
            assert path.read_text() in contents

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in contents
    assert names(tmp_path) == ["a"]


def test_the_remains_of_a_dead_process_are_removed(tmp_path):
    code = (
        "import os, sys\nfrom nnunetv2_masam.files import atomic_file\n"
        "with atomic_file(sys.argv[1]) as partial:\n    partial.write_text('half')\n    os._exit(9)"
    )
    path = tmp_path / "a[1].txt"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    assert len(names(tmp_path)) == 1
    alive = tmp_path / f".{path.name}.{socket.gethostname()}.{os.getpid()}.0.partial"
    alive.mkdir()
    write_text(path, "whole")
    assert names(tmp_path) == [alive.name, path.name]


def test_folder_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "deep" / "model"
    with pytest.raises(KeyboardInterrupt), atomic_folder(folder) as partial:  # noqa: PT012
        (partial / "plans.json").write_text("{}")
        raise KeyboardInterrupt
    assert names(folder.parent) == []
    with atomic_folder(folder) as partial:
        (partial / "plans.json").write_text("{}")
        assert not folder.exists()
    assert names(folder) == ["plans.json"]
    with pytest.raises(ValueError, match="files in it"), atomic_folder(folder):
        raise AssertionError("must not start")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"), atomic_folder(tmp_path / "file"):
        raise AssertionError("must not start")


def test_json_of_another_shape_names_the_file(tmp_path):
    path = tmp_path / "dataset.json"
    write_json(path, ["ä"])
    assert read_json(path, list) == ["ä"]
    with pytest.raises(ValueError, match=r"dataset\.json: holds list, expected an object"):
        read_json(path, dict)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="UTF-8"):
        read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="JSON"):
        read_json(path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))


@pytest.mark.parametrize(("value", "on"), [("", False), ("0", False), ("No", False), ("off", False), ("t", True)])
def test_env_flag(monkeypatch, value, on):
    monkeypatch.setenv("MASAM_X", value)
    assert env_flag("MASAM_X") is on


def test_shortened():
    assert shortened("abc") == "a, b, c"
    assert shortened(range(9), most=2) == "0, 1 and 7 more"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),  # as torch.save says it
    ],
)
@pytest.mark.parametrize("writer", [atomic_file, atomic_folder])
def test_a_full_disk_is_named(tmp_path, error, writer):
    with pytest.raises(OSError, match=r"target: could not be written, .* needs more than the 7 bytes") as caught:
        _fail_while_writing(writer, tmp_path / "target", error)
    assert str(shutil.disk_usage(tmp_path).free)[:3] in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def _fail_while_writing(writer, path, error):
    with writer(path) as partial:
        (partial / "file" if partial.is_dir() else partial).write_text("content")
        raise error


def test_errors_that_no_disk_makes_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match=r"^shape$"), atomic_file(tmp_path / "target"):
        raise RuntimeError("shape")
