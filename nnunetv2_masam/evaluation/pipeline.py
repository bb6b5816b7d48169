"""The comparison from start to end: find the cases, measure them, compare, and write all files.

Example::

    from nnunetv2_masam.evaluation.pipeline import CompareCrossValidation, ModelSource, compare_models, write_comparison

    models = (ModelSource("nnUNetTrainer"), ModelSource("nnUNetTrainerMASAM"))
    comparison = compare_models(CompareCrossValidation(dataset="4", models=models))
    print(comparison.summary.query("metric == 'Dice'"))
    write_comparison(comparison, Path("comparison"))
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nnunetv2_masam import __version__
from nnunetv2_masam.evaluation import report
from nnunetv2_masam.evaluation.comparison import Comparison, Setup, analyse
from nnunetv2_masam.evaluation.dicom_cases import with_label_images
from nnunetv2_masam.evaluation.labels import (
    LabelScheme,
    Structure,
    labels_by_model,
    labels_of_predictions,
    read_label_scheme,
)
from nnunetv2_masam.evaluation.lineup import leave_out
from nnunetv2_masam.evaluation.measure import Protocol, measure_all
from nnunetv2_masam.evaluation.metrics import library_versions
from nnunetv2_masam.evaluation.nnunet_results import find_cases
from nnunetv2_masam.evaluation.paired_tests import BOOTSTRAP_RESAMPLES, PERMUTATIONS, SIGNIFICANCE
from nnunetv2_masam.evaluation.probabilities import read_calibration
from nnunetv2_masam.evaluation.request import (
    SEEN,
    CompareCrossValidation,
    CompareRequest,
    CompareTestSet,
    ModelSource,
)
from nnunetv2_masam.evaluation.scores import KEYS
from nnunetv2_masam.evaluation.value_tables import measured_elsewhere
from nnunetv2_masam.files import shortened
from nnunetv2_masam.images import find_reader

__all__ = [
    "CompareCrossValidation",
    "CompareRequest",
    "CompareTestSet",
    "ModelSource",
    "check_output",
    "compare_models",
    "write_comparison",
]


def compare_models(request: CompareRequest) -> Comparison:
    """Measure all models over the same cases and compare them.

    Raises:
        ValueError: with everything that does not line up or cannot be measured, by file or option.
    """
    found = find_cases(request)
    cases, models, plans = found.table, list(found.models.values()), found.plans
    scheme = read_label_scheme(found.dataset_json, plans)
    labels, label_notes = labels_by_model(request, models, scheme, found.dataset_json)
    structures = {name: of.structures for name, of in labels.items()}
    meanings = {model.name: labels_of_predictions(request, model) or found.dataset_json for model in models}
    cases, errors = with_label_images(cases, found.dataset_json, meanings)
    cases, dicom_notes = _without(request, cases, errors)
    tolerances = _tolerances(structures[models[0].name], request)
    reader = find_reader(found.dataset_json, plans, cases["reference"].iloc[0])
    ignored = frozenset() if scheme.ignore_label is None else frozenset({scheme.ignore_label})
    protocols = {
        name: Protocol(
            reader,
            of.structures,
            tuple(tolerances.values()),
            scheme.ignore_label,
            scheme.defined_values | ignored,
            of.prediction_values,
            request.metrics,
        )
        for name, of in labels.items()
    }
    cases, values, notes = _measure(request, cases, protocols)
    tables = {model.name: (model.folder, model.values) for model in models if model.values is not None}
    values, table_notes = _with_tables(request, cases, values, tables, list(tolerances))
    setup = Setup(
        title=f"{request.title} {found.title.replace('{n}', str(cases['case'].nunique()))}".lstrip(),
        models=found.models,
        cases=cases,
        structures=structures,
        reader=reader,
        file_ending=found.dataset_json["file_ending"],
        images=found.images,
        settings=_settings(request, tolerances, scheme),
    )
    notes = [*request.notes, *found.notes, *label_notes, *dicom_notes, *notes, *table_notes]
    bins = None
    if request.calibration:
        bins = read_calibration(cases, structures, reader, setup.file_ending, scheme.ignore_label)
        without = [name for name in found.models if bins.empty or name not in set(bins["model"])]
        notes += [f"no probabilities (case.npz) beside the predictions of {', '.join(without)}"] if without else []
    return analyse(values, setup, found.recorded, notes, request.across_prompts, bins)


def write_comparison(comparison: Comparison, folder: Path) -> list[str]:
    """Write the tables, ``cases.csv``, ``summary.json`` and ``report.html``; returns the names of the files."""
    check_output(folder)
    return sorted(path.name for path in report.write_files(comparison, folder))


def check_output(folder: Path) -> None:
    """Refuse what can be no output folder, before anything is measured."""
    for path in (folder, *folder.absolute().parents):
        if path.exists() or path.is_symlink():
            if not path.is_dir():
                raise ValueError(f"{path}: is a file, expected a folder for the output (-o). Choose another name.")
            if not os.access(path, os.W_OK | os.X_OK):
                raise ValueError(
                    f"{path}: may not be written to, but is to hold the output (-o). Choose another folder."
                )
            return


def _tolerances(structures: Sequence[Structure], request: CompareRequest) -> dict[str, float]:
    """NSD tolerance in mm of each structure."""
    names, by_label = [structure.name for structure in structures], request.tolerance_by_label_mm
    if unknown := set(by_label) - set(names):
        raise ValueError(f"--tolerance of unknown labels {sorted(unknown)}; the labels are: {', '.join(names)}")
    return {name: by_label.get(name, request.tolerance_mm) for name in names}


def _settings(request: CompareRequest, tolerances: Mapping[str, float], scheme: LabelScheme) -> dict[str, Any]:
    """What the numbers depend on, for the captions and ``summary.json``."""
    return {
        "metrics": list(request.metrics.metrics),
        "definitions": request.metrics.definitions(),
        "nsd_tolerance_mm": tolerances,
        "ignore_label": scheme.ignore_label,
        "confidence": 1 - SIGNIFICANCE,
        "bootstrap_resamples": BOOTSTRAP_RESAMPLES,
        "permutations": PERMUTATIONS,
        "seed": request.seed,
        "margins": dict(request.margins),
        "seen": [f"{name}{SEEN}" for name in request.seen],
        "rank_unseen": request.rank_unseen,
        "nnunetv2_masam": __version__,
        "versions": library_versions(),
    }


def _measure(
    request: CompareRequest, cases: pd.DataFrame, protocols: Mapping[str, Protocol]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Measure all files; returns the cases without those that could not be measured, the values, and notes."""
    files = cases[~cases["prediction"].map(lambda path: path.name.lower().endswith(".csv"))]
    measured = measure_all(files, protocols, request.memory, request.processes, request.progress)
    rows = list(zip(files[["model", "run", "case", "fold", "group"]].to_dict("records"), measured, strict=True))
    bad = [(str(keys["case"]), result.error) for keys, result in rows if result.error]
    cases, notes = _without(request, cases, bad)
    rows = [(keys, result) for keys, result in rows if keys["case"] not in dict(bad)]
    if off := {keys["case"]: result.note for keys, result in rows if result.note}:
        notes.append(
            f"the header of {len(off)} of {cases['case'].nunique()} references is slightly off, so these cases "
            f"({shortened(sorted(off))}) were measured by voxel index, as nnU-Net does. {off[min(off)]}"
        )
    if rounded := [result.rounded for _, result in rows if result.rounded]:
        notes.append(f"label values of {len(rounded)} pairs of files were rounded. {rounded[0]}")
    values = [keys | {"label": label} | of for keys, result in rows for label, of in result.values.items()]
    columns = [*KEYS, *request.metrics.columns, "in_reference", "in_prediction"]
    return cases, pd.DataFrame(values, columns=columns), notes


def _without(
    request: CompareRequest, cases: pd.DataFrame, bad: Sequence[tuple[str, str]]
) -> tuple[pd.DataFrame, list[str]]:
    """The cases without those that have errors, if the request allows it, and a note on them."""
    if not bad:
        return cases, []
    errors = sorted({error for _, error in bad})
    if not request.skip_bad:
        listing = "\n".join(f"  {error}" for error in errors)
        raise ValueError(f"cases that cannot be measured:\n{listing}\nCompare the other cases with --skip-bad.")
    kept, note = leave_out(cases, dict(bad), "; ".join(errors))
    return kept, [note]


def _with_tables(
    request: CompareRequest,
    cases: pd.DataFrame,
    values: pd.DataFrame,
    tables: Mapping[str, tuple[str, pd.DataFrame]],
    labels: Sequence[str],
) -> tuple[pd.DataFrame, list[str]]:
    """Add the values of models that another tool measured, in the order of the cases, and say so."""
    if not tables:
        return values, []
    known = {(row["case"], row["label"]): row for row in values.to_dict("records")}
    parts = {str(model): rows for model, rows in values.groupby("model")}
    for model, (_, table) in tables.items():
        of = cases[cases["model"] == model]
        found = measured_elsewhere(of, table, labels, request.metrics, known)
        parts[model] = of[["model", "run", "case", "fold", "group"]].merge(found, on=["run", "case"])
    notes = [
        f"{model}: values as {folder} has them; the tool that wrote it may define them otherwise"
        for model, (folder, _) in tables.items()
    ]
    return pd.concat([parts[model] for model in cases["model"].unique()], ignore_index=True), notes
