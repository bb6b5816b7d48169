"""Options of a request, written once: default, help, limits and flags of each field of its dataclass.

A request is a frozen dataclass whose fields are made by :func:`option`. Python callers construct it; the command line
makes its parser and the request from the same fields (``nnunetv2_masam.cli.options``), and so does the reference page
of commands. Modules with requests stay light, because ``--help`` imports them: neither torch nor nnU-Net.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """Properties of a field that the command line needs besides name, type and default.

    Attributes:
        help: what the option does; the default is added where it says something.
        flags: names on the command line; one without a dash is a positional argument. Empty is ``--field-name``.
        group: title in the help text.
        metavar: placeholder of the value, its unit where it has one, such as ``MM``; one for each of several values.
        choices: the values that are allowed.
        at_least: smallest number allowed.
        above: the number that all allowed ones exceed.
        nargs: as argparse's; by default that of the field's type.
        exclusive: fields with the same word here exclude each other; one of them is needed if none has a default.
    """

    help: str
    flags: tuple[str, ...] = ()
    group: str = "options"
    metavar: str | tuple[str, ...] | None = None
    choices: tuple[str, ...] | None = None
    at_least: float | None = None
    above: float | None = None
    nargs: str | int | None = None
    exclusive: str | None = None


def option(*flags: str, help: str, default: Any = dataclasses.MISSING, **more: Any) -> Any:
    """A field of a request.

    Args:
        flags: names on the command line, see :class:`Option`.
        help: what the option does.
        default: without one, the option is required.
        more: further attributes of :class:`Option`.
    """
    return dataclasses.field(default=default, metadata={_KEY: Option(help, flags, **more)})


def nested() -> Any:
    """A required field that is a request itself, behind others; type checkers take :func:`option` for a default."""
    return dataclasses.field()


def options_of(request: type) -> dict[str, tuple[dataclasses.Field[Any], Option]]:
    """Field and option by name, of the fields that :func:`option` made."""
    fields = dataclasses.fields(request)
    return {field.name: (field, field.metadata[_KEY]) for field in fields if _KEY in field.metadata}


def read_number(word: str, kind: type[int] | type[float] = float) -> float:
    """A number as people write it; Python's own ``1_000`` and digits of other scripts are none.

    Raises:
        ValueError: it is no number.
    """
    if "_" in word or not word.isascii():
        raise ValueError(f"{word!r} is no number")
    return kind(word)


def check_exclusive(request: Any) -> None:
    """Refuse a request made in Python, as the parser does, with two options that exclude each other.

    Raises:
        ValueError: naming both.
    """
    given: dict[str, str] = {}
    for name, (_, found) in options_of(type(request)).items():
        value = getattr(request, name)
        if found.exclusive and value is not None and value is not False:  # 0 is a value
            other = given.setdefault(found.exclusive, name)
            if other != name:
                raise ValueError(f"{other} and {name} are both given, expected one of them. Leave the other out")
