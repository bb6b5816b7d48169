"""What is compared: one score per model, case, structure and metric, by one rule for empty masks.

`metrics` leaves a value undefined where reference and prediction are empty, as nnU-Net does. Means over what is left
would compare models over different cases: a false alarm counts 0, and the model that rightly found nothing would not
have the case at all. So the scores of a comparison follow one rule, for all models alike:

==============  ==========  ==============================================================================
reference       prediction  score
==============  ==========  ==============================================================================
empty           empty       the best: 1, for distances and errors 0
empty           not empty   as measured: 0, for distances the image diagonal
not empty       empty       as measured: 0, for distances the image diagonal
not empty       not empty   as measured
==============  ==========  ==============================================================================

Exceptions: a metric that divides by the reference (`NEEDS_REFERENCE`) has no score in any model where the reference is
empty, and a label that no reference and no prediction holds has none at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnunetv2_masam.evaluation.metrics import HIGHER_IS_BETTER

NEEDS_REFERENCE = frozenset({"sensitivity", "lesion_sensitivity", "relative_volume_error"})
EMPTY_REFERENCE = ("reference", "both")
AVERAGE = "average"  # in the place of a structure: a case's mean over the structures

Records = Mapping[tuple[str, str, str], Mapping[str, Any]]


class Scores:
    """Scores by model, structure and metric, in the order of the cases.

    Args:
        records: values by model, case and structure, as measured.
        models: names, the baseline first.
        cases: names, in order.
        structures: names, in order.
    """

    def __init__(
        self, records: Records, models: Sequence[str], cases: Sequence[str], structures: Sequence[str]
    ) -> None:
        self.records, self.models, self.cases, self.structures = records, models, cases, structures
        self._known: dict[tuple[str, str], dict[str, np.ndarray]] = {}

    @property
    def names(self) -> list[str]:
        """The structures, then `AVERAGE` where there are several."""
        return [*self.structures, AVERAGE] if len(self.structures) > 1 else list(self.structures)

    def values(self, model: str, structure: str, metric: str) -> list[float]:
        """Scores in the order of the cases; of `AVERAGE`, a case's mean over the structures that have one.

        `metric` may be another column of the records, such as a volume: then its values as measured.
        """
        if metric not in HIGHER_IS_BETTER:
            return [float(self.records[model, case, structure][metric]) for case in self.cases]
        found = self.average(model, metric) if structure == AVERAGE else self.of(model, structure, metric)
        return [float(value) for value in found]

    def empty(self, model: str, structure: str) -> list[str]:
        """Which of the masks are empty, in the order of the cases."""
        return [str(self.records[model, case, structure]["empty"]) for case in self.cases]

    def of(self, model: str, structure: str, metric: str) -> np.ndarray:
        """Scores of one structure; NaN only where every model that has the metric has NaN."""
        key = structure, metric
        if key not in self._known:
            self._known[key] = self._score(structure, metric)
        return self._known[key][model]

    def average(self, model: str, metric: str) -> np.ndarray:
        """Mean over the structures that have a score, by case: the same structures in every model."""
        rows = np.array([self.of(model, name, metric) for name in self.structures])
        counts = (~np.isnan(rows)).sum(axis=0)
        return np.where(counts > 0, np.nansum(rows, axis=0) / np.maximum(counts, 1), math.nan)

    def _score(self, structure: str, metric: str) -> dict[str, np.ndarray]:
        best = 1.0 if HIGHER_IS_BETTER[metric] else 0.0
        scores: dict[str, np.ndarray] = {}
        without: list[str] = []  # models of which this metric is not known, such as another tool's
        occurs = False
        for model in self.models:
            records = [self.records[model, case, structure] for case in self.cases]
            values = np.array([float(record[metric]) for record in records])
            empty = np.array([record["empty"] for record in records])
            occurs |= bool((empty != "both").any())
            if np.isnan(values[empty != "both"]).all() and (empty != "both").any():
                without.append(model)
            values[(empty == "both") & np.isnan(values)] = best
            if metric in NEEDS_REFERENCE:
                values[np.isin(empty, EMPTY_REFERENCE)] = math.nan
            scores[model] = values
        nothing = np.full(len(self.cases), math.nan)
        if not occurs:
            return dict.fromkeys(self.models, nothing)
        known = [scores[model] for model in self.models if model not in without]
        gaps = np.isnan(known).any(axis=0) if known else np.ones(len(nothing), dtype=bool)
        return {
            model: nothing if model in without else np.where(gaps, math.nan, values) for model, values in scores.items()
        }
