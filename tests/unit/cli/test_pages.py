"""Every command in the code blocks of README and documentation, ours and nnU-Net's, is one that its parser takes."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from nnunetv2_masam.cli import build_parser

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?:bash|sh|console)?\n(.*?)^```$|^((?: {4}.*\n)+)", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[;(]|\bdo\b|\$) *(nnUNetv2_\w+ [^;)#|>\n]+)", re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """As words; variables of the shell and placeholders become 1."""
    blocks = ["".join(found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]
    text = re.sub(r"\\\n\s*", "", "\n".join(blocks))
    text = re.sub(r"\$\{?\w+\}?|\b(?:DATASET|FOLD|ID)\b", "1", text)
    return [shlex.split(line) for line in COMMAND.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_our_commands(page):
    for program, *words in commands(page):
        if program == "nnUNetv2_masam":
            assert callable(build_parser().parse_args(words).run)


class UnderstoodError(Exception):
    """The arguments were parsed, which is all that is wanted."""


def test_commands_of_nnunet(monkeypatch):
    scripts = {script.name: script for script in entry_points(group="console_scripts")}
    parse = argparse.ArgumentParser.parse_known_args

    def parse_only(parser: argparse.ArgumentParser, *args: object) -> None:
        _, left = parse(parser, *args)
        assert left == []
        raise UnderstoodError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse_only)
    found = [words for page in PAGES for words in commands(page) if words[0] != "nnUNetv2_masam"]
    assert {words[0] for words in found} >= {"nnUNetv2_train", "nnUNetv2_predict", "nnUNetv2_plan_experiment"}
    for words in found:
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(UnderstoodError):
            scripts[words[0]].load()()
