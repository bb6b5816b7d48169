"""Units and order of the metrics in tables and plots."""

from __future__ import annotations

from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import HIGHER_IS_BETTER
from nnunetv2_masam.evaluation.units import MILLIMETRES, PIXELS, Units

MAIN_METRICS = ("Dice", "HD95_mm", "NSD")  # those of the terminal, the plots and the groups


def units_of(comparison: Comparison) -> Units:
    """Pixels for PNG and similar images, which know no physical size; else millimetres and millilitres."""
    return PIXELS if issubclass(comparison.reader, NaturalImage2DIO) else MILLIMETRES


def shown_metrics(comparison: Comparison) -> list[str]:
    """The metrics in the order of the tables: first those of which more is better, then distances and errors."""
    return sorted(comparison.metrics, key=lambda metric: not HIGHER_IS_BETTER[metric])
