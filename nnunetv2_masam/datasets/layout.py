"""Find the files of a published dataset by pattern, and describe how a folder differs from the expected layout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunetv2_masam.files import list_folder


def numbered_files(folder: Path, pattern: str) -> dict[int, Path]:
    """Files by the number in their name.

    Args:
        folder: where to look, not below it.
        pattern: regular expression for the name before ``.nii`` or ``.nii.gz``, case ignored, with one group.

    Raises:
        ValueError: if two files have the same number.
    """
    expression = re.compile(pattern + r"\.nii(?:\.gz)?", re.IGNORECASE)
    found: dict[int, Path] = {}
    for path in list_folder(folder):
        match = expression.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        number = int(match[1])
        if number in found:
            raise ValueError(f"two files for number {number}: {found[number]} and {path}. Remove one.")
        found[number] = path
    return found


def find_base(source: Path, below: Sequence[str], wanted: Sequence[str], name: str, expected: str) -> Path:
    """The folder that holds all wanted ones: ``source`` itself or one of those below it.

    Args:
        source: what the user gave.
        below: where else to look, relative to it.
        wanted: folders that must be there.
        name: of the dataset, for the error.
        expected: its tree, for the error.

    Raises:
        ValueError: with the expected tree and what is there.
    """
    if not source.is_dir():
        raise ValueError(f"{source}: no such folder")
    for base in (source, *(source / folder for folder in below)):
        if all((base / folder).is_dir() for folder in wanted):
            return base
    raise ValueError(f"{source} is not {name} as published. Expected:\n{expected}\nFound:\n{describe_tree(source)}")


def pair(
    images: Mapping[int, Path], labels: Mapping[int, Path], expected: Sequence[int], where: str, *, partial: bool
) -> list[int]:
    """Numbers that have both an image and a label.

    Args:
        images: by number.
        labels: by number.
        expected: the numbers of the complete dataset.
        where: what to call the place in an error.
        partial: the dataset may be incomplete.

    Raises:
        ValueError: if an image or a label lacks its partner, or numbers are missing or unknown.
    """
    problems = []
    if alone := sorted(set(images) - set(labels)):
        problems.append(f"images without a label file: {_numbers(alone)}")
    if alone := sorted(set(labels) - set(images)):
        problems.append(f"label files without an image: {_numbers(alone)}")
    both = sorted(set(images) & set(labels))
    if unknown := sorted(set(both) - set(expected)):
        problems.append(f"numbers that the dataset does not have: {_numbers(unknown)}")
    missing = sorted(set(expected) - set(images) - set(labels))
    if missing and not partial:
        problems.append(f"missing: {_numbers(missing)} (convert what is there with --partial)")
    if problems:
        raise ValueError("\n".join([f"{where}:", *(f"  {problem}" for problem in problems)]))
    return both


def describe_tree(folder: Path, depth: int = 2, most: int = 8) -> str:
    """The first entries of a folder and of those below it, indented."""
    lines: list[str] = []
    entries = sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name))
    for path in entries[:most]:
        lines.append(f"  {path.name}/" if path.is_dir() else f"  {path.name}")
        if path.is_dir() and depth > 1:
            lines += [f"  {line}" for line in describe_tree(path, depth - 1, most).splitlines()]
    if len(entries) > most:
        lines.append(f"  ... and {len(entries) - most} more")
    return "\n".join(lines) or "  (nothing)"


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:04d}" for number in numbers)
