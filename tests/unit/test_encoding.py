"""Text files are UTF-8 whatever the platform prefers, and commands run where it prefers ASCII."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.unit.evaluation.conftest import write_volume

ROOT = Path(__file__).resolve().parents[2]
# arguments without an encoding, by method of a path
MOST_ARGUMENTS = {"read_text": 0, "write_text": 1}


def without_encoding(file: Path) -> Iterator[str]:
    """Calls that read or write text in the platform's encoding."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        where = f"{file.name}:{node.lineno}"
        modes = [
            word.value for word in [*node.args, *(k.value for k in node.keywords)] if isinstance(word, ast.Constant)
        ]
        binary = any(isinstance(mode, str) and "b" in mode for mode in modes)
        if isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if len(node.args) <= MOST_ARGUMENTS.get(name, -1):
                yield f"{where} {name}"
            if name == "open" and not binary and (not node.args or modes):
                yield f"{where} {name}"
        elif isinstance(node.func, ast.Name) and node.func.id == "open" and not binary:
            yield f"{where} open"


def test_every_text_file_of_the_package_names_its_encoding() -> None:
    files = [path for folder in ("nnunetv2_masam", "trainers", "planners") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 80
    assert [call for file in files for call in without_encoding(file)] == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("path.read_text()", 1),
        ("path.write_text(text)", 1),
        ("open(path, 'w')", 1),
        ("path.open()", 1),
        ("path.open('w', newline='')", 1),
        ("path.read_text('utf-8')", 0),
        ("path.read_text(encoding='utf-8')", 0),
        ("open(path, 'rb')", 0),
        ("path.open(mode='wb')", 0),
        ("archive.open(name)", 0),
    ],
)
def test_calls_that_are_noticed(tmp_path: Path, code: str, found: int) -> None:
    (tmp_path / "module.py").write_text(code, encoding="utf-8")
    assert len(list(without_encoding(tmp_path / "module.py"))) == found


def test_compare_under_an_ascii_locale(tmp_path: Path) -> None:
    """Labels with umlauts, and tables with ± on an output that has none."""
    labels = np.zeros((4, 12, 12), np.uint8)
    labels[1:3, 3:8, 3:8] = 1
    for folder in ("A", "references"):
        write_volume(tmp_path / folder / "case.nii.gz", labels)
        write_volume(tmp_path / folder / "other.nii.gz", np.roll(labels, folder == "A", axis=1))
    content = {"labels": {"background": 0, "Schädel": 1}, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    command = [sys.executable, "-m", "nnunetv2_masam.cli", "compare", "--predictions", "A=A"]
    command += ["--references", "references", "--dataset-json", "dataset.json", "-o", "out", "-np", "1", "--no-cache"]
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **ascii_only}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    done.stdout.decode("ascii")
    assert "Schädel" in (tmp_path / "out" / "cases.csv").read_text(encoding="utf-8")
    assert "±" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
