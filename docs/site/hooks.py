"""Hooks of the documentation site.

The README is its home page, the result files that pages link to are part of it, and the lists of all options and of all
error messages are made from the source.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
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
        files.append(File.generated(config, name, content=_admonitions(_relative_to_docs(text))))
    files.append(File.generated(config, "messages.md", content=_messages()))
    files.append(File.generated(config, "options.md", content=_options()))
    for path in sorted((REPOSITORY / RESULTS).rglob("*")):
        if path.is_file():
            target = path.relative_to(REPOSITORY / "benchmarks").as_posix()
            files.append(File.generated(config, target, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to result files at their copies in the site, and those to the README at the home page."""
    markdown = markdown.replace("](../README.md", "](index.md")
    return re.sub(r"(\]\(|src=\")\.\./benchmarks/results/", r"\1results/", markdown)


def _messages() -> str:
    """The page of ``errors.py``; hooks are loaded by path and cannot import their neighbours by name."""
    spec = importlib.util.spec_from_file_location("errors", Path(__file__).with_name("errors.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.page()


def _options() -> str:
    """The help texts of all commands."""
    os.environ["COLUMNS"] = "78"
    sys.path.insert(0, str(REPOSITORY))
    from nnunetv2_masam.cli import build_parser
    from nnunetv2_masam.cli.parser import all_parsers

    lines = ["# All options", "", "What `--help` prints, for every command."]
    for parser in all_parsers(build_parser()):
        lines += [
            "",
            f"## {parser.prog.removeprefix('nnUNetv2_masam ')}",
            "",
            "```",
            parser.format_help().rstrip(),
            "```",
        ]
    return "\n".join(lines) + "\n"


def _admonitions(text: str) -> str:
    """GitHub's ``> [!NOTE]`` as MkDocs' admonition."""

    def converted(match: re.Match[str]) -> str:
        lines = [re.sub(r"^> ?", "", line) for line in match[2].splitlines()]
        body = "\n".join(f"    {line}".rstrip() for line in lines)
        return f'!!! {match[1].lower()} ""\n\n{body}\n'

    return re.sub(r"^> \[!(\w+)\]\n((?:>.*\n)+)", converted, text, flags=re.MULTILINE)


def _relative_to_docs(text: str) -> str:
    text = re.sub(r"(\]\(|src=\")docs/", r"\1", text)
    return re.sub(r"(\]\(|src=\")benchmarks/results/", r"\1results/", text)
