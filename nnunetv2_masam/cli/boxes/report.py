"""Print the results of the commands on boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunetv2_masam.prompts.channel import Written


def report(written: Written) -> int:
    """Print what became of each case."""
    for note in written.rounded.values():
        print(f"note: {note}")
    without = sorted(case for case, count in written.boxes.items() if count == 0)
    print(f"{sum(written.boxes.values())} boxes in {len(written.boxes)} cases")
    if without:
        print(f"{len(without)} cases without a box: {', '.join(without)}")
    if written.left_out:
        print(f"{len(written.left_out)} test cases without a reference left out: {', '.join(written.left_out)}")
    return 0
