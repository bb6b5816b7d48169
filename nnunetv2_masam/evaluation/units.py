"""Units of lengths and sizes: millimetres and millilitres, or pixels for images without a physical size."""

from __future__ import annotations

from dataclasses import dataclass

from nnunetv2_masam.evaluation.metrics import LESION_COUNTS, METRICS, VOLUMES


@dataclass(frozen=True)
class Units:
    """Units of lengths and sizes of structures.

    Attributes:
        length: unit of lengths.
        size: unit of sizes.
        size_name: what a size is called.
        size_per_ml: so many of `size` are recorded as 1 ml.
        size_digits: decimals of sizes.
    """

    length: str
    size: str
    size_name: str
    size_per_ml: float
    size_digits: int

    def heading(self, name: str) -> str:
        """Heading of a metric's column in a table."""
        return f"{METRICS[name].heading} ({self.length})" if METRICS[name].unit else METRICS[name].heading

    def column(self, name: str) -> str:
        """Name of the column of a metric or size in ``cases.csv``."""
        if name in VOLUMES:
            return name.replace("volume_", f"{self.size_name}_").replace("_ml", f"_{self.size}")
        return name.replace("_mm", f"_{self.length}")

    def columns(self) -> dict[str, str]:
        """Column of ``cases.csv`` in lower case → what it holds."""
        return {self.column(name).lower(): name for name in (*METRICS, *LESION_COUNTS, *VOLUMES)}


MILLIMETRES = Units("mm", "ml", "volume", 1.0, 2)
PIXELS = Units("px", "px", "area", 1000.0, 0)  # a pixel counts as 1 mm³, so that 1000 of them are 1 ml
