"""Subcommands whose modules are imported only when they are called, and the format of their help."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from typing import Any


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of epilogs, which hold examples."""


class LazyParser(argparse.ArgumentParser):
    """A parser that imports its module and declares its arguments when it is about to parse."""

    module: str | None = None

    def load(self) -> None:
        """Import the module, unless that is done."""
        if self.module is not None:
            name, self.module = self.module, None
            module = importlib.import_module(name)
            self.epilog = getattr(module, "EPILOG", None)
            if hasattr(module, "REQUEST"):
                from nnunetv2_masam.cli.options import add_options

                add_options(self, module.REQUEST)
            if hasattr(module, "add_arguments"):
                module.add_arguments(self)
            if hasattr(module, "run"):
                self.set_defaults(run=module.run, prog=self.prog)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, after all arguments are declared."""
        self.load()
        return super().parse_known_args(args, namespace)


def add_subcommands(parser: argparse.ArgumentParser, commands: Mapping[str, tuple[str, str]], package: str) -> None:
    """Declare subcommands.

    Args:
        parser: of the command.
        commands: name → module in the package, and a line of help.
        package: dotted name.
    """
    subparsers = parser.add_subparsers(
        title="commands", dest=f"{package}.command", metavar="COMMAND", required=True, parser_class=LazyParser
    )
    for name, (module, summary) in commands.items():
        subparser: LazyParser = subparsers.add_parser(
            name, help=summary, description=f"{summary}.", formatter_class=HelpFormatter
        )
        subparser.module = f"{package}.{module}"


def all_parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and those of all its subcommands, loaded."""
    if isinstance(parser, LazyParser):
        parser.load()
    below: Sequence[Any] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(found for action in below for child in action.choices.values() for found in all_parsers(child))]
