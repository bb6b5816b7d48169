"""Matplotlib figures as SVG for a page: the same bytes for the same numbers, readable on light and on dark."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision, and in print
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
INK, SOFT, GRID = "#333333", "#999999", "#DDDDDD"
ON_DARK = {INK: "#DDDDDD", SOFT: "#888888", GRID: "#444444", "#000000": "#FFFFFF"}
STYLE: dict[str, Any] = {
    "svg.hashsalt": "nnunetv2_masam",  # else the ids of clip paths and markers are random
    "svg.fonttype": "none",  # text stays text: small, searchable, in the reader's font
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.size": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}
_PIXELS_PER_POINT = 96 / 72


@dataclass(frozen=True)
class Picture:
    """An image to be put into the page as it is.

    Attributes:
        data: the file's bytes.
        mime: its type.
        alt: what it shows, with the main numbers, for readers who do not see it.
        width_px: its natural width on a page, where it has one.
    """

    data: bytes
    mime: str
    alt: str
    width_px: int | None = None

    @property
    def uri(self) -> str:
        """A ``data:`` address, so that the page needs no other file."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the report's style, whatever the user's settings of Matplotlib are."""
    with matplotlib.style.context(["default", STYLE], after_reset=True):
        yield


def new_axes(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.add_subplot()


def as_svg(figure: Figure, alt: str) -> Picture:
    """The figure, with colours for dark pages beside those for light ones."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    rules = [
        f'[style*="{what}: {light.lower()}"]{{{what}:{dark}!important}}'
        for light, dark in ON_DARK.items()
        for what in ("fill", "stroke")
    ]
    style = f'<style type="text/css">@media (prefers-color-scheme:dark){{{"".join(rules)}}}</style>'
    text = re.sub(r"(<svg[^>]*>)", rf"\1{style}", buffer.getvalue().decode(), count=1)
    width_px = round(figure.get_figwidth() * 72 * _PIXELS_PER_POINT)
    return Picture(text.encode(), "image/svg+xml", alt, width_px)
