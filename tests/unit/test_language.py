"""Words for which the field has better known ones: not in pages, docstrings, help texts and messages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("nnunetv2_masam", "trainers", "planners", "registration", "benchmarks", "demo", "docs")
FILES = [
    *ROOT.glob("*.md"),
    *(file for folder in FOLDERS for kind in ("py", "md") for file in (ROOT / folder).rglob(f"*.{kind}")),
]

# pattern: what to write
WORDS = {
    r"data sets?": "dataset",
    r"samples? a step": "effective batch size",
    r"samples? at once": "micro-batch size",
    r"mend(s|ed|ing)?": "fix",
    r"(held|hold|holds) (\w+ ){0,4}against": "compared with",
    r"bring(s|ing)?|brought": "provide, add, get",
    r"is not to be had": "missing, could not be downloaded",
    r"prediction in place": "in-place computation in inference",
    r"weigh together": "log-sum-exp",
    r"given up for memory are": "to fit the memory target, the planner gives up",
    r"\[default: ": "(default: x)",
}


@pytest.mark.parametrize("pattern", WORDS)
def test_words(pattern):
    words = pattern.replace(" ", r"\s+(?:# )?")  # also over the end of a line
    found = re.compile(rf"(?<![\w`]){words}(?![\w`])", re.IGNORECASE)
    offenders = [
        f"{file.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}, write {WORDS[pattern]}"
        for file in FILES
        if "results" not in file.parts
        for text in [file.read_text("utf-8")]
        for match in found.finditer(text)
    ]
    assert offenders == []


def test_there_is_something_to_read():
    assert len(FILES) > 200
