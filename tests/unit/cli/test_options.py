"""Parser and request from the fields of a dataclass."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import pytest

from nnunetv2_masam.cli.options import add_options, request_from
from nnunetv2_masam.options import check_exclusive, nested, option


@dataclass(frozen=True)
class Margins:
    margin_mm: float = option(help="Margin on every side", default=0.5, metavar="MM", at_least=0, group="boxes")


@dataclass(frozen=True)
class Request:
    folder: Path = option("folder", help="Folder to read", group="input")
    margins: Margins = nested()
    numbers: tuple[int, ...] = option("-k", "--numbers", help="Some numbers", at_least=1)
    size: tuple[int, int] = option(help="Rows and columns", default=(512, 256))
    scale: float | None = option(help="Scale", default=None, above=0)
    kind: str = option(help="Kind", default="a", choices=("a", "b"))
    dry: bool = option("--dry-run", help="Write nothing", default=False)
    check: bool = option("--no-check", help="Check nothing", default=True)
    seen_by: str = "Python only"


@dataclass(frozen=True)
class Choice:
    dataset: str | None = option("-d", help="A dataset", exclusive="origin")
    frame_map: Path | None = option("-m", help="A file", exclusive="origin")


@dataclass(frozen=True)
class Size:
    size: tuple[int, int] | None = option(help="Size", default=None, metavar=("ROWS", "COLUMNS"), exclusive="size")
    original: bool = option(help="No scaling", default=False, exclusive="size")

    def __post_init__(self) -> None:
        check_exclusive(self)


def parser_of(request: type) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_options(parser, request)
    return parser


def parsed(words: str) -> Request:
    return request_from(parser_of(Request).parse_args(words.split()), Request)


def test_defaults_are_those_of_the_dataclass():
    assert parsed("here -k 1") == Request(Path("here"), Margins(), (1,))


def test_values_have_the_types_of_the_fields():
    words = "here -k 1 2 --size 3 4 --scale 2.5 --kind b --dry-run --no-check --margin-mm 2"
    expected = Request(Path("here"), Margins(2.0), (1, 2), (3, 4), 2.5, "b", dry=True, check=False)
    assert parsed(words) == expected


def test_fields_may_be_filled_in_by_the_command():
    args = parser_of(Request).parse_args(["here", "-k", "1"])
    assert request_from(args, Request, numbers=(7,), seen_by="a test") == Request(
        Path("here"), Margins(), (7,), seen_by="a test"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("here", "required: -k/--numbers"),
        ("here -k 0", "got '0', expected a whole number of at least 1"),
        ("here -k ²", "expected a whole number"),
        ("here -k 1_000", "got '1_000', expected a whole number"),
        ("here -k 1 --scale 1_0.5", "got '1_0.5', expected a number above 0"),
        ("here -k 1 --scale ٣", "expected a number above 0"),
        ("here -k 1.5", "got '1.5', expected a whole number of at least 1"),
        ("here -k 1 --scale 0", "got '0', expected a number above 0"),
        ("here -k 1 --scale nan", "got 'nan', expected a number above 0"),
        ("here -k 1 --margin-mm -1", "got '-1', expected a number of at least 0"),
        ("here -k 1 --kind c", "invalid choice: 'c'"),
        ("here -k 1 --size 3", "expected 2 arguments"),
    ],
)
def test_what_is_refused_says_what_was_expected(words, message, capsys):
    with pytest.raises(SystemExit):
        parsed(words)
    assert message in capsys.readouterr().err


def test_help_names_defaults_units_and_groups():
    text = " ".join(parser_of(Request).format_help().split())
    assert "boxes: --margin-mm MM Margin on every side (default: 0.5)" in text
    assert "--size SIZE SIZE Rows and columns (default: 512 256)" in text
    assert "--scale SCALE Scale --kind {a,b} Kind (default: a)" in text
    assert "seen" not in text


@pytest.mark.parametrize(("words", "needed"), [("", "one of the arguments"), ("-d 4 -m x", "not allowed with")])
def test_one_of_the_fields_that_exclude_each_other_is_needed(words, needed, capsys):
    with pytest.raises(SystemExit):
        parser_of(Choice).parse_args(words.split())
    assert needed in capsys.readouterr().err
    assert request_from(parser_of(Choice).parse_args(["-d", "4"]), Choice) == Choice("4", None)


def test_a_request_made_in_python_refuses_what_the_parser_refuses():
    assert request_from(parser_of(Size).parse_args(["--size", "3", "4"]), Size) == Size((3, 4))
    with pytest.raises(ValueError, match="size and original are both given"):
        Size((3, 4), original=True)
    with pytest.raises(ValueError, match="size and original are both given"):
        Size(0, original=True)  # a wrong value is one, too


def test_each_of_several_values_has_its_placeholder():
    assert "--size ROWS COLUMNS" in parser_of(Size).format_help()
