"""``report.html``: the whole comparison on one page that needs no other file and no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined

from nnunetv2_masam import __version__
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.report import figures, overlays, quality, tables
from nnunetv2_masam.evaluation.report.forest import forest
from nnunetv2_masam.evaluation.report.shown import MAIN_METRICS, units_of
from nnunetv2_masam.evaluation.report.svg import Picture
from nnunetv2_masam.evaluation.report.text_table import Table, with_minus
from nnunetv2_masam.files import write_text

LONG_TABLE = 60  # rows from which a table is folded on the page


@dataclass(frozen=True)
class ShownCase:
    """A case in the report, and why it is there."""

    reason: str
    picture: Picture


def write_report(comparison: Comparison, path: Path, images: Path | None = None) -> None:
    """Write the page.

    Args:
        comparison: what was compared.
        path: of the page.
        images: folder with the images that were segmented, for the overlays.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {"anchor": anchor, "signed": with_minus}
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    page = template.render(
        comparison=comparison,
        version=__version__,
        units=units_of(comparison),
        tables=_tables(comparison),
        colours=figures.colours(comparison),
        distributions=distributions(comparison),
        forests=[forest(comparison, metric) for metric in MAIN_METRICS] if comparison.differences else [],
        pairs={model: figures.case_against_case(comparison, model, "Dice") for model in comparison.differences},
        long=LONG_TABLE,
        margin_title=quality.MARGIN_TITLE,
        margin_curve=figures.margin_curve(comparison),
        shown=shown_cases(comparison, images),
        folders={model.name: model.folder for model in comparison.lineup.models},
    )
    write_text(path, page)


def _tables(comparison: Comparison) -> list[Table]:
    """All tables; with a single label, the column for it would only take room."""
    found = tables.all_tables(comparison)
    return found if len(comparison.structures) > 1 else [table.without_constant_keys() for table in found]


def anchor(title: str) -> str:
    """The id of a section."""
    return "-".join(re.findall(r"\w+", title.lower()))


def distributions(comparison: Comparison) -> dict[str, list[Picture]]:
    """Distributions by heading: a row of labels for each metric, or one row of metrics where there is one label."""
    names, units = comparison.structure_names, units_of(comparison)
    if len(names) == 1:
        return {names[0]: [figures.distribution(comparison, metric, names[0]) for metric in MAIN_METRICS]}
    return {
        units.heading(metric): [figures.distribution(comparison, metric, name) for name in names]
        for metric in MAIN_METRICS
    }


def shown_cases(comparison: Comparison, images: Path | None) -> Mapping[str, list[ShownCase]]:
    """Overlays by heading: the best, the median and the worst case of each model against the baseline."""
    models = comparison.model_names
    label = comparison.structure_names[-1]
    baseline = np.array(comparison.values(comparison.baseline, label, "Dice"))
    shown: dict[str, list[ShownCase]] = {}
    if len(models) == 1:
        shown[models[0]] = _pick(comparison, baseline, "Dice {:.3f}", models, images)
    for model in models[1:]:
        difference = np.array(comparison.values(model, label, "Dice")) - baseline
        pair = [comparison.baseline, model]
        heading = f"{model} against {comparison.baseline}"
        shown[heading] = _pick(comparison, difference, "Dice {:+.3f}", pair, images)
    return shown


def _pick(
    comparison: Comparison, values: np.ndarray, form: str, models: list[str], images: Path | None
) -> list[ShownCase]:
    order = [int(i) for i in np.argsort(values, kind="stable") if not np.isnan(values[i])]
    if not order:
        return []
    places = {"best": order[-1], "median": order[len(order) // 2], "worst": order[0]}
    shown: dict[int, str] = {}
    for reason, place in places.items():
        shown[place] = f"{shown[place]}, {reason}" if place in shown else reason
    return [
        ShownCase(
            with_minus(f"{reason.capitalize()}: {comparison.lineup.cases[place]}, {form.format(values[place])}"),
            overlays.overlay(comparison, comparison.lineup.cases[place], models, images),
        )
        for place, reason in shown.items()
    ]
