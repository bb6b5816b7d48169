"""``report.html``: the whole comparison on one page that needs no other file and no network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined

from nnunetv2_masam import __version__
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.report import figures, overlays
from nnunetv2_masam.evaluation.report.quality import CALIBRATION_TITLE, MAIN_METRICS
from nnunetv2_masam.evaluation.report.svg import Picture
from nnunetv2_masam.evaluation.report.text_table import Table, with_minus
from nnunetv2_masam.files import write_text

LONG_TABLE = 60  # rows from which a table is folded on the page


def write_report(comparison: Comparison, tables: Sequence[Table], path: Path) -> None:
    """Write the page, with all tables; with a single label, the column for it would only take room."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {"anchor": anchor, "signed": with_minus}
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    models = list(comparison.differences["model"].unique())
    page = template.render(
        comparison=comparison,
        setup=comparison.setup,
        version=__version__,
        units=comparison.setup.units,
        tables=tables if len(comparison.labels) > 1 else [table.without_constant_keys() for table in tables],
        colours=figures.colours(comparison),
        distributions=distributions(comparison),
        forests=[figures.forest(comparison, metric) for metric in MAIN_METRICS] if models else [],
        pairs=[figures.bland_altman(comparison, model, "Dice") for model in models],
        long=LONG_TABLE,
        calibration_title=CALIBRATION_TITLE,
        reliability=figures.reliability_diagrams(comparison),
        shown=shown_cases(comparison),
    )
    write_text(path, page)


def anchor(title: str) -> str:
    """The id of a section."""
    return "-".join(re.findall(r"\w+", title.lower()))


def distributions(comparison: Comparison) -> dict[str, list[Picture]]:
    """Distributions by heading: a row of labels for each metric, or one row of metrics where there is one label."""
    labels = comparison.labels
    if len(labels) == 1:
        return {labels[0]: [figures.distribution(comparison, metric, labels[0]) for metric in MAIN_METRICS]}
    return {
        comparison.setup.units.heading(metric): [figures.distribution(comparison, metric, label) for label in labels]
        for metric in MAIN_METRICS
    }


def shown_cases(comparison: Comparison) -> Mapping[str, list[tuple[str, Picture]]]:
    """Reasons and overlays by heading: the best, the median and the worst case of each model against the baseline."""
    dice, baseline = comparison.by_case(comparison.labels[-1], "Dice"), comparison.baseline
    if len(comparison.models) == 1:
        return {baseline: _pick(comparison, dice[baseline], "Dice {:.3f}", [baseline])}
    return {
        f"{model} against {baseline}": _pick(
            comparison, dice[model] - dice[baseline], "Dice {:+.3f}", [baseline, model]
        )
        for model in comparison.models[1:]
    }


def _pick(comparison: Comparison, values: pd.Series, form: str, models: list[str]) -> list[tuple[str, Picture]]:
    ordered = values.dropna().sort_values(kind="stable")
    if ordered.empty:
        return []
    shown: dict[str, str] = {}
    for reason, place in {"best": -1, "median": len(ordered) // 2, "worst": 0}.items():
        case = str(ordered.index[place])
        shown[case] = f"{shown[case]}, {reason}" if case in shown else reason
    return [
        (
            with_minus(f"{reason.capitalize()}: {case}, {form.format(values[case])}"),
            overlays.overlay(comparison, case, models),
        )
        for case, reason in shown.items()
    ]
