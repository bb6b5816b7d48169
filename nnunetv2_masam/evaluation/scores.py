"""One score per model, case, label and metric, with one rule for empty masks, and summaries of the scores.

`label_arrays` leaves a value undefined where reference and prediction are empty, as nnU-Net does. Means over what is
left would compare models over different cases: a false alarm counts 0, and the model that rightly found nothing would
not have the case at all. So the scores of a comparison follow one rule, for all models alike:

==============  ==========  ==============================================================================
reference       prediction  score
==============  ==========  ==============================================================================
empty           empty       the best: 1, for distances and errors 0
empty           not empty   as measured: 0, for distances the image diagonal
not empty       empty       as measured: 0, for distances the image diagonal
not empty       not empty   as measured
==============  ==========  ==============================================================================

Exceptions: a metric that divides by the reference (`Metric.needs_reference`) has no score in any model where the
reference is empty, and a label that no reference and no prediction holds has none at all.

The frames are tidy: a row per ``model, run, case, label`` with ``fold, group, in_reference, in_prediction`` and a
column per metric; statistics are long, a row per ``model, label, metric``.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from nnunetv2_masam.evaluation.metrics import METRICS

AVERAGE = "average"  # in the place of a label: a case's mean over the labels
KEYS = ["model", "run", "case", "label", "fold", "group"]


def metrics_in(frame: pd.DataFrame) -> list[str]:
    """The metrics among the columns, in their order."""
    return [name for name in METRICS if name in frame]


def scores(values: pd.DataFrame) -> pd.DataFrame:
    """Scores of measured values, with rows of `AVERAGE` where there are several labels.

    A score is missing only where every model that has the metric has none.
    """
    both_empty = ~(values["in_reference"] | values["in_prediction"])
    by_model, by_case = [values["label"], values["model"]], [values["label"], values["case"]]
    occurs = (~both_empty).groupby(values["label"]).transform("any")
    in_model = (~both_empty).groupby(by_model).transform("any")
    made = values[[*KEYS, "in_reference", "in_prediction"]].copy()
    for name in metrics_in(values):
        metric, column = METRICS[name], values[name]
        score = column.mask(both_empty & column.isna(), metric.best)
        if metric.needs_reference:
            score = score.where(values["in_reference"])
        # such as another tool's model: it has no score, and takes no case from the others
        unknown = in_model & ~(column.notna() & ~both_empty).groupby(by_model).transform("any")
        gap = (score.isna() & ~unknown).groupby(by_case).transform("any")
        made[name] = score.mask(unknown | gap | ~occurs)
    if made["label"].nunique() == 1:
        return made
    averages = made.groupby([key for key in KEYS if key != "label"], sort=False)[metrics_in(made)].mean()
    return pd.concat([made, averages.reset_index().assign(label=AVERAGE)], ignore_index=True)


def over_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Each case's mean over the trainings of a model."""
    if not frame["run"].any():
        return frame
    keys = [key for key in KEYS if key != "run"]
    return frame.groupby(keys, sort=False)[metrics_in(frame)].mean().reset_index().assign(run=0)


def tall(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per score: the keys, ``metric`` and ``value``."""
    return frame.melt(KEYS, metrics_in(frame), var_name="metric")


def summary(frame: pd.DataFrame, by: Sequence[str] = ("model", "label")) -> pd.DataFrame:
    """Mean, standard deviation, median and numbers of cases with and without a score, by metric and other columns."""
    grouped = tall(over_runs(frame)).groupby([*by, "metric"], sort=False)["value"]
    found = grouped.agg(n="count", n_undefined="size", mean="mean", sd="std", median="median")
    found["n_undefined"] -= found["n"]
    return found.reset_index()


def foreground_mean(values: pd.DataFrame) -> pd.DataFrame:
    """nnU-Net's ``foreground_mean`` by model and metric: the mean of the labels' means over cases with a value."""
    means = values.groupby(["model", "label"], sort=False)[metrics_in(values)].mean()
    return means.groupby("model", sort=False).mean()


def run_means(scores: pd.DataFrame) -> pd.DataFrame:
    """The mean over cases of each training, by model, label and metric; over the cases in which all have a score."""
    long = tall(scores)
    gap = long["value"].isna().groupby([long["case"], long["label"], long["metric"]]).transform("any")
    keys = ["model", "label", "metric", "run"]
    return long[~gap].groupby(keys, sort=False)["value"].mean().rename("mean").reset_index()


def run_spread(scores: pd.DataFrame) -> pd.DataFrame:
    """Spread between trainings beside the spread between cases.

    Returns:
        a row per model, label and metric: ``runs``, ``mean``, ``sd_between_runs`` of the means over cases (NaN for one
        training), ``lowest`` and ``highest`` of these means, and ``sd_between_cases`` of the means over trainings.
    """
    keys = ["model", "label", "metric"]
    by_run = run_means(scores).groupby(keys, sort=False)["mean"]
    found = by_run.agg(runs="count", mean="mean", sd_between_runs="std", lowest="min", highest="max")
    by_case = tall(scores).groupby([*keys, "case"], sort=False)["value"].mean()
    return found.join(by_case.groupby(keys).std().rename("sd_between_cases")).reset_index()
