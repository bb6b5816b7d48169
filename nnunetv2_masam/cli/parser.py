"""Make the parser of a command with subcommands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nnunetv2_masam.cli.options import add_options


@dataclass(frozen=True)
class Command:
    """A subcommand, or a group of them.

    Attributes:
        summary: one line of help.
        run: takes the parsed arguments and returns the exit code; None for a group that does nothing itself.
        request: dataclass whose fields are the options.
        epilog: examples, below the help text.
        leave_out: fields of the request that are no options here.
        add_arguments: declares arguments that are in no request.
        commands: subcommands by name.
    """

    summary: str
    run: Callable[[argparse.Namespace], int] | None = None
    request: type | None = None
    epilog: str | None = None
    leave_out: tuple[str, ...] = ()
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    commands: Mapping[str, Command] = field(default_factory=dict)


def add_commands(parser: argparse.ArgumentParser, commands: Mapping[str, Command], required: bool = True) -> None:
    """Declare subcommands with their options."""
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=required)
    for name, command in commands.items():
        made = subparsers.add_parser(
            name,
            help=command.summary,
            description=f"{command.summary}.",
            epilog=command.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,  # keeps the line breaks of examples
        )
        if command.request is not None:
            add_options(made, command.request, command.leave_out)
        if command.add_arguments is not None:
            command.add_arguments(made)
        if command.run is not None:
            made.set_defaults(run=command.run, prog=made.prog)
        if command.commands:
            add_commands(made, command.commands, required=command.run is None)


def all_parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and those of all its subcommands."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(found for group in groups for child in group.choices.values() for found in all_parsers(child))]
