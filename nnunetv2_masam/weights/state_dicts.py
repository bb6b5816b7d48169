"""Find the state dict in a file, and translate its key names to those of the official SAM checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_Found = TypeVar("_Found")


def unwrap(
    tensors: Mapping[str, Any], wrappers: tuple[str, ...], wanted: Callable[[Mapping[str, Any]], _Found | None]
) -> tuple[_Found | None, list[str]]:
    """Look for a state dict in a file, then in the dicts that wrap it.

    Args:
        tensors: content of the file.
        wrappers: names that codes give to the dict with the state dict; the first one present is followed.
        wanted: the state dict in the form that is wanted, or None if it is not in this dict.

    Returns:
        what was found, or None; the names of the dicts that were followed.
    """
    followed: list[str] = []
    candidate = tensors
    while (found := wanted(candidate)) is None:
        wrapper = next((name for name in wrappers if isinstance(candidate.get(name), Mapping)), None)
        if wrapper is None:
            return None, followed
        followed.append(wrapper)
        candidate = candidate[wrapper]
    return found, followed


class NameTable:
    """Translate key names. The part after a name in the table (``.weight``, ``.q_proj.bias``, …) is kept.

    Args:
        names: their names → official names; ``{n}`` is a number, at most one in a name.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.rules = [
            (re.compile(re.escape(theirs).replace(r"\{n\}", r"(\d+)") + r"(\..+)?"), official)
            for theirs, official in names.items()
        ]

    def official(self, key: str) -> str | None:
        """The official name of a key, or None for a key that is not in the table."""
        for pattern, official in self.rules:
            if match := pattern.fullmatch(key):
                *numbers, rest = match.groups()
                return official.replace("{n}", numbers[0] if numbers else "") + (rest or "")
        return None
