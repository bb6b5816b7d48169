"""Which tables a comparison has, in their order."""

from __future__ import annotations

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.report import claims, quality
from nnunetv2_masam.evaluation.report.shown import MAIN_METRICS
from nnunetv2_masam.evaluation.report.text_table import Table


def all_tables(comparison: Comparison) -> list[Table]:
    """Every table that has something to show."""
    return _existing(
        quality.quality_table(comparison),
        claims.difference_table(comparison) if comparison.differences else None,
        claims.fold_difference_table(comparison),
        claims.detection_table(comparison),
        claims.detection_difference_table(comparison),
        claims.ranking_table(comparison),
        quality.volume_table(comparison),
        quality.margin_table(comparison),
        quality.fold_table(comparison),
        quality.group_table(comparison),
        claims.group_difference_table(comparison),
        quality.cost_table(comparison),
    )


def main_tables(comparison: Comparison) -> list[Table]:
    """The tables for a terminal."""
    return _existing(
        quality.quality_table(comparison),
        claims.difference_table(comparison, MAIN_METRICS) if comparison.differences else None,
        claims.detection_table(comparison),
        claims.detection_difference_table(comparison),
        quality.margin_table(comparison),
        quality.cost_table(comparison),
    )


def _existing(*tables: Table | None) -> list[Table]:
    return [table for table in tables if table is not None]
