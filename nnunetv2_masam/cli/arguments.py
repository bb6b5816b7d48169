"""Arguments of commands that belong to no request, and the groups in which help texts list them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def group(parser: Any, title: str) -> Any:
    """The group of a parser with this title, new or not; the titles of all commands are input, output, speed, …"""
    found = [group for group in parser._action_groups if group.title == title]
    return found[0] if found else parser.add_argument_group(title)


def add_dataset(parser: Any, help: str = "Number or name of the dataset", **more: Any) -> None:
    """``-d``, an existing dataset."""
    add = group(parser, "input").add_argument
    add("-d", "--dataset", metavar="ID", help=help, **{"required": True, **more})


def add_output_folder(parser: Any, help: str, **more: Any) -> None:
    """``-o``."""
    add = group(parser, "output").add_argument
    add("-o", "--output", type=Path, metavar="DIR", help=help, **{"required": True, **more})
