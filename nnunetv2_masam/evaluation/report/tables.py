"""The tables of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

from nnunetv2_masam.evaluation.comparison import AVERAGE, Comparison
from nnunetv2_masam.evaluation.metrics import CATALOGUE, HIGHER_IS_BETTER
from nnunetv2_masam.evaluation.report.table import NOTHING, Table, interval, number, p_value, spread

MARGIN_TITLE = "Dice against box margin"


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


def quality_table(comparison: Comparison) -> Table:
    """Mean ± standard deviation and median of every metric, by structure and model; the best mean in bold.

    Where a model was prompted, a column says with what, and the best is sought among those that were not.
    """
    units, prompts, metrics = units_of(comparison), comparison.prompts, shown_metrics(comparison)
    prompted = any(prompts.values())
    ranked = [model for model in comparison.model_names if prompts[model] is None] or comparison.model_names
    rows: list[dict[str, str]] = []
    best: set[tuple[int, str]] = set()
    for name in comparison.structure_names:
        found = {model: comparison.summaries[model][name] for model in comparison.model_names}
        for metric in metrics:
            winners = _best({model: found[model][metric].mean for model in ranked}, HIGHER_IS_BETTER[metric])
            places = [len(rows) + comparison.model_names.index(model) for model in winners]
            best |= {(place, units.heading(metric)) for place in places}
        for model, summaries in found.items():
            counted = sorted({summary.n for summary in summaries.values()})
            row = {"label": name, "model": model, "cases": "/".join(map(str, counted))}
            if prompted:
                row["prompt"] = "none" if (prompt := prompts[model]) is None else prompt.text
            for metric in metrics:
                s = summaries[metric]
                row[units.heading(metric)] = spread(s.mean, s.sd, s.median, CATALOGUE[metric].digits)
            rows.append(row)
    caption = "Mean ± standard deviation (median) over cases; the best mean in bold"
    caption += ", among models without a prompt." if prompted and len(ranked) < len(prompts) else "."
    return Table("Quality", pd.DataFrame(rows), 2, caption, frozenset(best), frozenset({"prompt"}))


def margin_table(comparison: Comparison) -> Table | None:
    """Mean Dice against the margin of oracle boxes; None with fewer than two margins."""
    models = margins(comparison)
    if len({margin for margin, _ in models}) < 2:
        return None
    rows = [
        {"margin (mm)": f"{margin:g}", "model": model}
        | {name: number(comparison.summaries[model][name]["Dice"].mean, 4) for name in comparison.structure_names}
        for margin, model in models
    ]
    caption = "Mean Dice with boxes around the reference that are wider by the margin on every side."
    return Table(MARGIN_TITLE, pd.DataFrame(rows), 2, caption)


def margins(comparison: Comparison) -> list[tuple[float, str]]:
    """Margin in mm and model, for models with oracle boxes of a known margin, tightest first."""
    known = [(prompt.margin_mm, model) for model, prompt in comparison.prompts.items() if prompt is not None]
    return sorted((margin, model) for margin, model in known if margin is not None)


def difference_table(comparison: Comparison, metrics: Sequence[str] | None = None) -> Table:
    """Paired differences from the baseline."""
    units = units_of(comparison)
    rows = []
    for model, found in comparison.differences.items():
        for metric in metrics or shown_metrics(comparison):
            for name in comparison.structure_names:
                pair, digits = found[name][metric], CATALOGUE[metric].digits
                rows.append(
                    {
                        "model": model,
                        "metric": units.heading(metric),
                        "label": name,
                        "cases": str(pair.n),
                        "difference": number(pair.mean, digits, sign=True),
                        "95 % CI": interval(pair.ci_low, pair.ci_high, digits),
                        "p (Holm)": p_value(pair.p_holm),
                        "effect": number(pair.effect, 2),
                        "verdict": pair.verdict,
                    }
                )
    caption = (
        f"Paired by case against {comparison.baseline}: mean difference with bootstrap interval, Wilcoxon's "
        "signed-rank test with Holm's correction over labels (the average stands alone), rank-biserial "
        "correlation (1: better in every case, -1: worse in every case)."
    )
    return Table("Difference from the baseline", pd.DataFrame(rows), 3, caption, words=frozenset({"verdict"}))


def volume_table(comparison: Comparison) -> Table:
    """Volumes (or areas) of reference and prediction, and their difference."""
    units = units_of(comparison)
    rows = []
    for part in comparison.structures:
        for model in comparison.model_names:
            columns = ("volume_reference_ml", "volume_prediction_ml", "volume_difference_ml")
            values = np.array([comparison.values(model, part.name, column) for column in columns])
            reference, prediction, difference = values * units.size_per_ml
            digits = units.size_digits
            rows.append(
                {
                    "label": part.name,
                    "model": model,
                    f"reference ({units.size})": number(_mean(reference), digits),
                    f"prediction ({units.size})": number(_mean(prediction), digits),
                    f"difference ({units.size})": number(_mean(difference), digits, sign=True),
                    "its standard deviation": number(_sd(difference), digits),
                    f"absolute difference ({units.size})": number(_mean(np.abs(difference)), digits),
                }
            )
    caption = "Means over all cases, empty ones included; difference: prediction minus reference."
    return Table(f"{units.size_name.capitalize()}s", pd.DataFrame(rows), 2, caption)


def fold_table(comparison: Comparison) -> Table | None:
    """Mean per fold, averaged over structures; None where there are no folds."""
    last, units = comparison.structure_names[-1], units_of(comparison)
    folds = sorted(comparison.summaries[comparison.baseline][last]["Dice"].fold_means)
    if not folds:
        return None
    rows = []
    for metric in shown_metrics(comparison):
        for model in comparison.model_names:
            means = comparison.summaries[model][last][metric].fold_means
            row = {f"fold {fold}": number(means.get(fold), CATALOGUE[metric].digits) for fold in folds}
            rows.append({"metric": units.heading(metric), "model": model, **row})
    caption = "Mean over the cases of each fold" + (", averaged over labels." if last == AVERAGE else ".")
    return Table("Folds", pd.DataFrame(rows), 2, caption)


def empty_table(comparison: Comparison) -> Table | None:
    """Where reference or prediction is empty; None where that happens nowhere."""
    headings = {
        "prediction": "missed (prediction empty)",
        "reference": "false alarm (reference empty)",
        "both": "both empty",
    }
    rows = []
    for part in comparison.structures:
        for model in comparison.model_names:
            counts = comparison.empty_counts(model, part.name)
            if any(counts.values()):
                shown = {heading: str(counts[key]) for key, heading in headings.items()}
                rows.append({"label": part.name, "model": model, **shown})
    if not rows:
        return None
    caption = (
        "Missed or false alarm: Dice, IoU and NSD are 0, HD95 and ASSD are the image diagonal. "
        "Both empty: no value, the case does not count for that label."
    )
    return Table("Empty masks", pd.DataFrame(rows), 2, caption)


COSTS: Mapping[str, tuple[str, float, int]] = {
    "parameters": ("parameters (million)", 1e-6, 2),
    "trained_parameters": ("trained (million)", 1e-6, 2),
    "training_hours_per_fold": ("training per fold (h)", 1, 2),
    "seconds_per_epoch": ("epoch (s)", 1, 1),
    "epochs": ("epochs", 1, 0),
    "inference_seconds_per_case": ("inference per case (s)", 1, 1),
    "peak_memory_gib": ("peak memory (GiB)", 1, 2),
    "checkpoint_mib": ("checkpoint (MiB)", 1, 1),
}


def cost_table(comparison: Comparison) -> Table | None:
    """Costs by model, the mean over folds; None where nothing is recorded."""
    rows = []
    for model in comparison.model_names:
        cost: dict[str, Any] = asdict(comparison.costs[model]) if model in comparison.costs else {}
        row = {"model": model}
        for key, (heading, factor, digits) in COSTS.items():
            value = cost.get(key)
            row[heading] = number(None if value is None else value * factor, digits)
        rows.append(row)
    cells = pd.DataFrame(rows)
    if (cells.iloc[:, 1:] == NOTHING).all(axis=None):
        return None
    caption = (
        "From checkpoints and nnU-Net's logs, mean over folds; - is not recorded. Inference: median time "
        "between cases in nnU-Net's validation, reading and export included."
    )
    return Table("Cost", cells, 1, caption)


def all_tables(comparison: Comparison) -> list[Table]:
    """Every table that has something to show."""
    tables = [quality_table(comparison)]
    if comparison.differences:
        tables.append(difference_table(comparison))
    tables.append(volume_table(comparison))
    optional = (margin_table(comparison), empty_table(comparison), fold_table(comparison), cost_table(comparison))
    return tables + [table for table in optional if table is not None]


def main_tables(comparison: Comparison) -> list[Table]:
    """The tables for a terminal."""
    tables: list[Table | None] = [quality_table(comparison)]
    if comparison.differences:
        tables.append(difference_table(comparison, ("Dice", "HD95_mm", "NSD")))
    tables += [margin_table(comparison), empty_table(comparison), cost_table(comparison)]
    return [table for table in tables if table is not None]


def _mean(values: np.ndarray) -> float:
    return float(pd.Series(values).mean())  # without undefined values; NaN without any


def _sd(values: np.ndarray) -> float:
    return float(pd.Series(values).std())


def _best(means: Mapping[str, float], higher_is_better: bool) -> list[str]:
    """The models with the best mean; none where there is nothing to choose from."""
    defined = pd.Series(dict(means), dtype=float).dropna()
    if len(means) < 2 or defined.empty:
        return []
    return list(defined.index[defined == (defined.max() if higher_is_better else defined.min())])
