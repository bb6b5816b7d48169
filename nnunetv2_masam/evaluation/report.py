"""``report.html``: the whole comparison on one page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment

from nnunetv2_masam import __version__
from nnunetv2_masam.evaluation import figures, overlays, tables
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.figures import Picture
from nnunetv2_masam.files import write_text

PLOTTED = ("Dice", "HD95_mm", "NSD")


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
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text("utf-8"))
    page = template.render(
        comparison=comparison,
        version=__version__,
        tables={table.title: table for table in tables.all_tables(comparison)},
        colours=figures.colours(comparison),
        boxes=[figures.box_plots(comparison, metric) for metric in PLOTTED],
        pairs={model: figures.case_against_case(comparison, model, "Dice") for model in comparison.differences},
        margin_title=tables.MARGIN_TITLE,
        margin_curve=figures.margin_curve(comparison),
        shown=shown_cases(comparison, images),
        folders={model.name: model.folder for model in comparison.lineup.models},
    )
    write_text(path, page)


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
            f"{reason.capitalize()}: {comparison.lineup.cases[place]}, {form.format(values[place])}",
            overlays.overlay(comparison, comparison.lineup.cases[place], models, images),
        )
        for place, reason in shown.items()
    ]
