"""Make a parser from the fields of a request, and the request from parsed arguments."""

from __future__ import annotations

import argparse
import dataclasses
import math
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from nnunetv2_masam.cli.arguments import group
from nnunetv2_masam.options import Option, options_of, read_number

Request = TypeVar("Request")


def add_options(parser: argparse.ArgumentParser, request: type, leave_out: tuple[str, ...] = ()) -> None:
    """Declare an argument for each option of a request; a field that is a request itself adds its own.

    Args:
        parser: of the command.
        request: a dataclass with fields made by :func:`~nnunetv2_masam.options.option`.
        leave_out: fields that the command fills in itself.
    """
    options, hints = options_of(request), typing.get_type_hints(request)
    exclusive: dict[str, Any] = {}
    for field in dataclasses.fields(request):
        if field.name in leave_out:
            continue
        if field.name not in options:
            if dataclasses.is_dataclass(hints[field.name]):
                add_options(parser, hints[field.name])
            continue
        option = options[field.name][1]
        where = group(parser, option.group)
        if option.exclusive:
            if option.exclusive not in exclusive:
                exclusive[option.exclusive] = where.add_mutually_exclusive_group(required=_is_required(field))
            where = exclusive[option.exclusive]
        flags = option.flags or ("--" + field.name.replace("_", "-"),)
        where.add_argument(*flags, **_argument(field, option, hints[field.name], flags))


def request_from(args: argparse.Namespace, request: type[Request], **more: Any) -> Request:
    """The request that the arguments ask for; ``more`` are fields that no argument has, or that replace one's value."""
    hints = typing.get_type_hints(request)
    values = dict(more)
    for field in dataclasses.fields(request):  # type: ignore[arg-type]
        if field.name in values:
            continue
        if hasattr(args, field.name):
            value = getattr(args, field.name)
            values[field.name] = tuple(value) if isinstance(value, list) else value
        elif dataclasses.is_dataclass(hints[field.name]):
            values[field.name] = request_from(args, hints[field.name])
    return request(**values)


def _argument(field: dataclasses.Field[Any], option: Option, hint: Any, flags: tuple[str, ...]) -> dict[str, Any]:
    """The keywords of ``add_argument``."""
    if hint is bool:
        action = "store_false" if field.default is True else "store_true"
        return {"dest": field.name, "action": action, "help": option.help}
    of_one, nargs = _type_and_nargs(hint)
    keywords: dict[str, Any] = {
        "type": _checked(of_one, option),
        "nargs": option.nargs or nargs,
        "choices": option.choices,
        "metavar": option.metavar or (None if option.choices else field.name.upper()),  # argparse shows choices
        "help": option.help + _default_text(field, option),
        "default": None if _is_required(field) else field.default,
    }
    if flags[0].startswith("-"):
        keywords |= {"dest": field.name, "required": _is_required(field) and not option.exclusive}
    return keywords


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default_text(field: dataclasses.Field[Any], option: Option) -> str:
    default = field.default
    if default is dataclasses.MISSING or default in (None, "", ()) or "(default" in option.help:
        return ""
    return f" (default: {' '.join(map(str, default)) if isinstance(default, tuple) else default})"


def _type_and_nargs(hint: Any) -> tuple[type, str | int | None]:
    """Type of one value, and argparse's ``nargs``: of ``tuple[int, ...]``, ``tuple[int, int]`` or a scalar, or None."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return arguments[0], "+" if arguments[-1] is Ellipsis else len(arguments)
    return hint, None


def _checked(of_one: type, option: Option) -> Callable[[str], Any]:
    """What turns a word into a value; its error says what was expected."""
    if of_one is Path or of_one is str:
        return of_one

    def parse(word: str) -> Any:
        try:
            value = read_number(word, of_one)
        except ValueError:
            value = math.nan
        in_range = (option.at_least is None or value >= option.at_least) and (
            option.above is None or value > option.above
        )
        if not math.isfinite(value) or not in_range:
            raise argparse.ArgumentTypeError(f"got {word!r}, expected {_expected(of_one, option)}")
        return value

    return parse


def _expected(of_one: type, option: Option) -> str:
    kind = "a whole number" if of_one is int else "a number"
    if option.at_least is not None:
        return f"{kind} of at least {option.at_least}"
    return f"{kind} above {option.above}" if option.above is not None else kind
