"""Arguments that several subcommands share, and the types that check numbers as they are parsed."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any


def positive_int(text: str) -> int:
    """1, 2, 3, …"""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least 1")
    return int(text)


def whole_number(text: str) -> int:
    """0, 1, 2, …"""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least 0")
    return int(text)


def positive_number(text: str) -> float:
    """A finite number above 0."""
    return _number(text, "a number above 0", lambda value: value > 0)


def distance_mm(text: str) -> float:
    """A finite number of at least 0."""
    return _number(text, "millimetres, 0 or more", lambda value: value >= 0)


def group(parser: Any, title: str) -> Any:
    """The group of a parser with this title, new or not; the titles of all commands are input, output, speed, …"""
    if not isinstance(parser, argparse.ArgumentParser):
        return parser  # a group already
    found = [group for group in parser._action_groups if group.title == title]
    return found[0] if found else parser.add_argument_group(title)


def add_dataset(parser: Any, help: str = "Number or name of the dataset", **more: Any) -> None:
    """``-d``, an existing dataset."""
    add = group(parser, "input").add_argument
    add("-d", "--dataset", metavar="ID", help=help, **{"required": True, **more})


def add_new_dataset(parser: Any) -> None:
    """``-d``, the number of a dataset that is written."""
    group(parser, "output").add_argument(
        "-d", "--dataset-id", type=positive_int, required=True, metavar="ID", help="Free number for the new dataset"
    )


def add_output_folder(parser: Any, help: str, **more: Any) -> None:
    """``-o``."""
    add = group(parser, "output").add_argument
    add("-o", "--output", type=Path, metavar="DIR", help=help, **{"required": True, **more})


def add_processes(parser: Any, most: int = 8) -> None:
    """``-np``."""
    group(parser, "speed").add_argument(
        "-np",
        "--processes",
        type=positive_int,
        default=min(most, os.cpu_count() or 1),
        metavar="N",
        help="Number of processes (default: %(default)s)",
    )


def _number(text: str, expected: str, fits: Any) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not fits(value):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")
    return value
