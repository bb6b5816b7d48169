"""Every help text: quick, without torch, in one style, with examples that the parser takes."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import shlex
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from nnunetv2_masam.cli import build_parser
from nnunetv2_masam.cli.parser import all_parsers

NNUNETS_OWN = {"-gpu_memory_target", "-overwrite_plans_name"}  # as in nnU-Net's commands, without a second spelling
PARSERS = {parser.prog: parser for parser in all_parsers(build_parser())}
# imports that a help text must not need
HEAVY = ("torch", "numpy", "nnunetv2.paths", "SimpleITK", "nibabel", "scipy", "matplotlib", "PIL")


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of a parser, but for --help, --version and subcommands."""
    left_out = (argparse._HelpAction, argparse._VersionAction, argparse._SubParsersAction)
    return [action for action in parser._actions if not isinstance(action, left_out)]


def examples(parser: argparse.ArgumentParser) -> list[list[str]]:
    """Our commands in a parser's epilog, as words."""
    lines = re.findall(r"^ *nnUNetv2_masam (.+)$", parser.epilog or "", re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_help_is_quick_and_needs_no_torch():
    """The texts of all commands in one process; CPU time since it started, so that a busy machine does not count."""
    code = (
        "import sys, time\n"
        "from nnunetv2_masam.cli import build_parser\n"
        "from nnunetv2_masam.cli.parser import all_parsers\n"
        "texts = [parser.format_help() for parser in all_parsers(build_parser())]\n"
        f"print(len(texts), time.process_time(), *(set({HEAVY!r}) & set(sys.modules)))"
    )
    seconds = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        count, taken, *heavy = done.stdout.split()
        assert heavy == [], "imported for a help text"
        assert int(count) == len(PARSERS)
        seconds.append(float(taken))
    assert min(seconds) < 0.5


@pytest.mark.parametrize("prog", PARSERS)
def test_style(prog):
    parser = PARSERS[prog]
    text = re.sub(r"\s+", " ", parser.format_help())
    assert not re.search(r"data sets?\b|\[default|%\(", text)
    assert re.match(r"[A-Z].*\.$", parser.description or "")
    for action in options(parser):
        what, help = f"{prog} {action.option_strings or action.dest}", action.help or ""
        assert re.match(r"[A-Z0-9]|dataset\.json|[a-z]+, ", help), f"{what}: begins with {help[:20]!r}"
        assert not help.endswith("."), what
        if action.nargs != 0:
            metavars = action.metavar if isinstance(action.metavar, tuple) else (action.metavar,)
            metavars = () if action.choices and action.metavar is None else metavars  # argparse shows the choices
            assert all(re.fullmatch(r"\[?[A-Z][A-Z_=\[\]]*", str(metavar)) for metavar in metavars), f"{what}: metavar"
            if action.default not in (None, [], ()):
                assert "(default: " in help, f"{what}: no default in its help"
                values = action.default if isinstance(action.default, tuple) else (action.default,)
                assert f"(default: {' '.join(map(str, values))})" in text, what
        if action.option_strings and not action.required and "default" in help:
            assert re.search(r"\(default( with -d)?: .+\)$", help), f"{what}: the default comes last, as (default: x)"


@pytest.mark.parametrize("prog", PARSERS)
def test_every_option_has_a_long_form(prog):
    """A short one alone says nothing in a script that is read a year later."""
    spellings = [set(action.option_strings) for action in options(PARSERS[prog]) if action.option_strings]
    short = [names for names in spellings if not any(name.startswith("--") for name in names)]
    assert [names for names in short if not names <= NNUNETS_OWN] == []


@pytest.mark.parametrize("prog", PARSERS)
def test_every_argument_is_in_a_titled_group(prog):
    parser = PARSERS[prog]
    grouped = {
        id(action) for group in parser._action_groups[2:] for action in group._group_actions
    }  # not argparse's two
    assert [action.option_strings or action.dest for action in options(parser) if id(action) not in grouped] == []


def test_the_number_of_a_new_dataset_has_one_name():
    """``--dataset`` is one that exists."""
    numbers = {prog: PARSERS[prog]._option_string_actions["-d"].dest for prog in PARSERS if " convert " in prog}
    assert numbers.pop("nnUNetv2_masam convert frames") == "dataset"
    assert set(numbers.values()) == {"dataset_id"}


@pytest.mark.parametrize("prog", [prog for prog, parser in PARSERS.items() if examples(parser)])
def test_examples_are_commands(prog):
    for words in examples(PARSERS[prog]):
        args = build_parser().parse_args(words)
        assert callable(args.run)


def test_every_command_that_takes_files_has_an_example():
    with_arguments = {prog for prog, parser in PARSERS.items() if options(parser)}
    assert {prog for prog in with_arguments if not examples(PARSERS[prog])} == set()


def test_what_help_texts_repeat_is_what_the_package_says():
    """Modules of commands import nothing that computes, so they spell out the layouts of folders."""
    from nnunetv2_masam.video import endovis18, sequences

    assert sequences.LAYOUT in PARSERS["nnUNetv2_masam convert video"].epilog
    assert endovis18.LAYOUT in PARSERS["nnUNetv2_masam convert endovis18"].epilog


def test_functions_of_the_page_on_commands_exist():
    page = (Path(__file__).resolve().parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")
    named = re.findall(r"`(nnunetv2_masam\.[\w.]+)\.(\w+)\((\w*)", page)
    assert len(named) >= 16
    for module, function, argument in named:
        loaded = importlib.import_module(module)
        parameters = inspect.signature(getattr(loaded, function)).parameters
        assert argument in ("", *parameters) or _is_a_request(getattr(loaded, argument))


def _is_a_request(found: object) -> bool:
    """A dataclass, or a choice between some."""
    return all(map(dataclasses.is_dataclass, typing.get_args(found) or (found,)))
