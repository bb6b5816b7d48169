"""Hooks of the documentation site: the README is its home page, and result files that pages link to are part of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = "benchmarks/results"
PAGES = {
    "index.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "LICENSE": "LICENSE",
}


def on_files(files: Files, config: Any) -> Files:
    """Add README, changelog, contributing guide, licence and the benchmarks' result files."""
    for name, source in PAGES.items():
        text = (REPOSITORY / source).read_text("utf-8")
        files.append(File.generated(config, name, content=_relative_to_docs(text)))
    for path in sorted((REPOSITORY / RESULTS).rglob("*")):
        if path.is_file():
            target = path.relative_to(REPOSITORY / "benchmarks").as_posix()
            files.append(File.generated(config, target, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to result files at their copies in the site."""
    return re.sub(r"(\]\(|src=\")\.\./benchmarks/results/", r"\1results/", markdown)


def _relative_to_docs(text: str) -> str:
    text = re.sub(r"(\]\(|src=\")docs/", r"\1", text)
    return re.sub(r"(\]\(|src=\")benchmarks/results/", r"\1results/", text)
