"""``nnUNetv2_masam doctor``: what is installed and found, and how to fix each failure; and ``trainers-path``."""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunetv2_masam.catalogue import trainers_folder
from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.options import option

if TYPE_CHECKING:
    from nnunetv2_masam.installation import Finding


@dataclass(frozen=True)
class DoctorRequest:
    """What to check besides the installation."""

    dataset: str | None = option(
        "-d", "--dataset", default=None, group="input", metavar="ID",
        help="Also read this dataset's files: report values that are not finite, label values that are undefined, "
        "images that are not volumes, and folds that validate on training cases (default: none)",
    )  # fmt: skip


def doctor(args: argparse.Namespace) -> int:
    """Print all findings; 1 if any of them is a failure."""
    from nnunetv2_masam.installation import FAILED, WARNING, check_all

    statuses = []
    for title, findings in check_all(args.dataset):
        print(f"\n{title}")
        for finding in findings:
            print(_line(finding), flush=True)
            statuses.append(finding.status)
    failures, warnings = statuses.count(FAILED), statuses.count(WARNING)
    print(f"\n{'Training cannot work' if failures else 'Ready'}: {failures} failed, {warnings} warnings")
    return 1 if failures else 0


def _line(finding: Finding) -> str:
    indent = " " * 4
    detail = textwrap.indent(finding.detail, indent * 2).strip()
    text = f"  {finding.subject:<33} {finding.status:<8} {detail}"
    return text if not finding.remedy else f"{text}\n{indent}-> {finding.remedy}"


def trainers_path(args: argparse.Namespace) -> int:
    """Print the folder, alone on a line."""
    print(trainers_folder())
    return 0


DOCTOR = Command(
    "Check the installation and say how to fix it",
    doctor,
    DoctorRequest,
    """\
  nnUNetv2_masam doctor
  nnUNetv2_masam doctor -d 4
""",
)

TRAINERS_PATH = Command("Print the folder in which nnU-Net looks our trainers up", trainers_path)
