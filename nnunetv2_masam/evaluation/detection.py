"""Detection of structures by case: sensitivity and specificity of "structure present".

Overlap and distance say how well a structure is outlined; where references can be empty, missing and inventing it are
errors of their own. McNemar's exact test compares two models on the cases in which one alone is right.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from nnunetv2_masam.evaluation.differences import BETTER, NO_DIFFERENCE, NO_VALUE, TOO_FEW, WORSE
from nnunetv2_masam.evaluation.paired_tests import SIGNIFICANCE, holm, mcnemar_p, proportion_interval

RATES = ("sensitivity", "specificity")


def detection(values: pd.DataFrame) -> pd.DataFrame:
    """Compute how often each model finds each structure.

    Args:
        values: as measured, with ``in_reference`` and ``in_prediction``.

    Returns:
        a row per model and label: cases ``present`` in the reference and ``found`` in the prediction too (anywhere),
        ``absent`` and ``false_alarms``, and both rates with their 95 % Wilson intervals (``_low``, ``_high``).
    """
    rows = []
    for (model, label), cases in values.groupby(["model", "label"], sort=False):
        present, predicted = cases["in_reference"], cases["in_prediction"]
        row: dict[str, Any] = {"model": model, "label": label}
        row |= {"present": int(present.sum()), "found": int((present & predicted).sum())}
        row |= {"absent": int((~present).sum()), "false_alarms": int((~present & predicted).sum())}
        right = (row["found"], row["present"]), (row["absent"] - row["false_alarms"], row["absent"])
        for rate, (count, total) in zip(RATES, right, strict=True):
            row[rate] = count / total if total else math.nan
            row[f"{rate}_low"], row[f"{rate}_high"] = proportion_interval(count, total)
        rows.append(row)
    return pd.DataFrame(rows)


def detection_differences(values: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Compare models with the baseline in finding structures, with Holm's correction over the labels of a rate.

    Returns:
        a row per model, label and ``rate``: cases in which ``only_model`` or ``only_baseline`` is right, the exact
        ``p`` (NaN where no case asks for it), ``p_holm`` and ``verdict``.
    """
    right = values.assign(right=values["in_reference"] == values["in_prediction"])
    theirs = right.loc[right["model"] == baseline, ["run", "case", "label", "right"]]
    paired = right[right["model"] != baseline].merge(theirs, on=["run", "case", "label"], suffixes=("", "_baseline"))
    rows = []
    for (model, label), cases in paired.groupby(["model", "label"], sort=False):
        for rate, asked in zip(RATES, (cases["in_reference"], ~cases["in_reference"]), strict=True):
            of = cases[asked]
            only = int((of["right"] & ~of["right_baseline"]).sum()), int((~of["right"] & of["right_baseline"]).sum())
            rows.append((model, label, rate, *only, mcnemar_p(*only) if len(of) else math.nan))
    found = pd.DataFrame(rows, columns=["model", "label", "rate", "only_model", "only_baseline", "p"])
    family = found.groupby(["model", "rate"], sort=False)["p"]
    found["p_holm"] = family.transform(lambda p: holm(p.tolist()))
    labels = family.transform("count")
    found["verdict"] = [_verdict(row, size) for row, size in zip(found.to_dict("records"), labels, strict=True)]
    return found


def _verdict(row: dict[str, Any], family: float) -> str:
    if math.isnan(row["p_holm"]):
        return NO_VALUE
    if row["p_holm"] < SIGNIFICANCE:
        return BETTER if row["only_model"] > row["only_baseline"] else WORSE
    discordant = row["only_model"] + row["only_baseline"]
    return TOO_FEW if discordant and 2.0 ** (1 - discordant) * family > SIGNIFICANCE else NO_DIFFERENCE
