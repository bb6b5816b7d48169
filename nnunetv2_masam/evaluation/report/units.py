"""Units, headings and order of the metrics in tables and plots."""

from __future__ import annotations

from dataclasses import dataclass

from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import CATALOGUE, HIGHER_IS_BETTER

MAIN_METRICS = ("Dice", "HD95_mm", "NSD")  # those of the terminal, the plots and the groups


@dataclass(frozen=True)
class Units:
    """What lengths and sizes of structures are given in."""

    length: str
    size: str
    size_name: str
    size_per_ml: float
    size_digits: int

    def heading(self, metric: str) -> str:
        """Of a metric's column in a table."""
        return CATALOGUE[metric].heading.replace("(mm)", f"({self.length})")

    def column(self, name: str) -> str:
        """Of a metric or size in ``cases.csv``."""
        if self == MILLIMETRES:
            return name
        return name.replace("_mm", f"_{self.length}").replace("volume_", f"{self.size_name}_").replace("_ml", "_px")

    def value(self, name: str, value: float) -> float:
        """A recorded value in these units."""
        return value * self.size_per_ml if name.endswith("_ml") else value


MILLIMETRES = Units("mm", "ml", "volume", 1.0, 2)
PIXELS = Units("px", "px", "area", 1000.0, 0)  # a pixel counts as 1 mm³, so that 1000 of them are 1 ml


def units_of(comparison: Comparison) -> Units:
    """Pixels for PNG and similar images, which know no physical size; else millimetres and millilitres."""
    return PIXELS if issubclass(comparison.reader, NaturalImage2DIO) else MILLIMETRES


def shown_metrics(comparison: Comparison) -> list[str]:
    """The metrics in the order of the tables: first those of which more is better, then distances and errors."""
    return sorted(comparison.metrics, key=lambda metric: not HIGHER_IS_BETTER[metric])
