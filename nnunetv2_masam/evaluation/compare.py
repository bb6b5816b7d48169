"""The comparison from start to end: line up, measure, collect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_masam import __version__
from nnunetv2_masam.evaluation.comparison import Comparison, collect
from nnunetv2_masam.evaluation.compute import Task, measure_all
from nnunetv2_masam.evaluation.labels import LabelScheme, ModelLabels, Structure
from nnunetv2_masam.evaluation.lineup import LineUp
from nnunetv2_masam.evaluation.metrics import DEFAULT_TOLERANCE_MM, library_versions
from nnunetv2_masam.evaluation.statistics import BOOTSTRAP_RESAMPLES, SIGNIFICANCE


@dataclass(frozen=True)
class Options:
    """How to compare.

    Attributes:
        baseline: name of the model that the others are compared with; the first by default.
        tolerance_mm: of NSD.
        tolerance_by_label_mm: of NSD, where a label has its own.
        skip_bad: leave cases out (of all models) that cannot be measured, instead of refusing.
        seed: of the bootstrap.
        cache: folder of remembered values.
        processes: how many; nnU-Net's default if None.
        progress: show a bar.
        across_prompts: also test differences between models with and without box prompts.
    """

    baseline: str | None = None
    tolerance_mm: float = DEFAULT_TOLERANCE_MM
    tolerance_by_label_mm: Mapping[str, float] | None = None
    skip_bad: bool = False
    seed: int = 0
    cache: Path | None = None
    processes: int | None = None
    progress: bool = True
    across_prompts: bool = False


def find_reader(
    dataset_json: Mapping[str, Any], plans: Mapping[str, Any] | None, example: Path
) -> type[BaseReaderWriter]:
    """nnU-Net's reader for the segmentations: the plans' one, else the one that ``dataset.json`` leads to."""
    if plans is not None and "image_reader_writer" in plans:
        reader: type[BaseReaderWriter] = PlansManager(dict(plans)).image_reader_writer_class
        return reader
    found: type[BaseReaderWriter] = determine_reader_writer_from_dataset_json(
        dict(dataset_json), str(example), verbose=False
    )
    return found


def compare(
    lineup: LineUp,
    scheme: LabelScheme,
    labels: Mapping[str, ModelLabels],
    reader: type[BaseReaderWriter],
    file_ending: str,
    options: Options,
    title: str,
) -> Comparison:
    """Measure and compare.

    Args:
        lineup: models over the same cases.
        scheme: labels of the references.
        labels: what each model's predictions mean.
        reader: nnU-Net's reader of references and predictions.
        file_ending: of references and predictions.
        options: how to compare.
        title: what is compared, with ``{n}`` for the number of cases.

    Raises:
        ValueError: with every case that cannot be measured, unless they are to be skipped.
    """
    names = [model.name for model in lineup.models]
    baseline = options.baseline or names[0]
    if baseline not in names:
        raise ValueError(f"baseline {baseline!r} is not among the models: {', '.join(names)}")
    structures = labels[baseline].structures
    tolerances = _tolerances(structures, options)
    tasks = _tasks(lineup, scheme, labels, reader, tuple(tolerances.values()))
    measured = measure_all(tasks, options.cache, options.processes, options.progress)
    failed = [result for result in measured if result.error]
    if failed and not options.skip_bad:
        listing = "\n".join(f"  {error}" for error in sorted({result.error for result in failed}))
        raise ValueError(f"cases that cannot be measured:\n{listing}\nCompare the other cases with --skip-bad.")
    if failed:
        reason = "; ".join(sorted({result.error for result in failed}))
        lineup = lineup.without(sorted({result.case for result in failed}), reason)
        measured = [result for result in measured if result.case in lineup.cases]
    settings = {
        "nsd_tolerance_mm": tolerances,
        "confidence": 1 - SIGNIFICANCE,
        "bootstrap_resamples": BOOTSTRAP_RESAMPLES,
        "seed": options.seed,
        "nnunetv2_masam": __version__,
        "versions": library_versions(),
    }
    return collect(
        lineup,
        measured,
        {name: found.structures for name, found in labels.items()},
        title=title.replace("{n}", str(len(lineup.cases))),
        baseline=baseline,
        settings=settings,
        reader=reader,
        file_ending=file_ending,
        seed=options.seed,
        across_prompts=options.across_prompts,
    )


def _tasks(
    lineup: LineUp,
    scheme: LabelScheme,
    labels: Mapping[str, ModelLabels],
    reader: type[BaseReaderWriter],
    tolerances_mm: tuple[float, ...],
) -> list[Task]:
    ignored = frozenset() if scheme.ignore_label is None else frozenset({scheme.ignore_label})
    return [
        Task(
            model=model.name,
            case=case,
            reference=lineup.references[case],
            prediction=model.cases[case].path,
            reader=reader,
            structures=labels[model.name].structures,
            tolerances_mm=tolerances_mm,
            ignore_label=scheme.ignore_label,
            reference_values=scheme.defined_values | ignored,
            prediction_values=labels[model.name].prediction_values,
        )
        for model in lineup.models
        for case in lineup.cases
    ]


def _tolerances(structures: Sequence[Structure], options: Options) -> dict[str, float]:
    by_label = dict(options.tolerance_by_label_mm or {})
    unknown = set(by_label) - {structure.name for structure in structures}
    if unknown:
        known = ", ".join(structure.name for structure in structures)
        raise ValueError(f"--tolerance of unknown labels {sorted(unknown)}; the labels are: {known}")
    return {structure.name: by_label.get(structure.name, options.tolerance_mm) for structure in structures}
