"""What must agree before anything is computed: cases, folds, references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnunetv2_masam.evaluation.results import NO_FOLD, Model
from nnunetv2_masam.files import shortened
from nnunetv2_masam.nnunet_files import segmentations_in


@dataclass(frozen=True)
class LineUp:
    """Models over the same cases.

    Attributes:
        models: each cut to `cases`.
        cases: in order.
        references: reference file by case.
        notes: what a reader of the tables must know, such as that cases were left out.
        groups: group by case, such as the site; empty without groups.
    """

    models: tuple[Model, ...]
    cases: tuple[str, ...]
    references: Mapping[str, Path]
    notes: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def folds(self) -> dict[str, int]:
        """The fold of each case; a model without folds does not know it, so the others are asked."""
        return {case: max(model.cases[case].fold for model in self.models) for case in self.cases}

    def without(self, cases: Sequence[str], reason: str) -> LineUp:
        """Leave out cases of all models, and say so."""
        kept = tuple(case for case in self.cases if case not in cases)
        if not kept:
            raise ValueError(f"no case is left: all {len(self.cases)} were left out ({reason})")
        models = tuple(model.only(kept) for model in self.models)
        note = f"{len(cases)} of {len(self.cases)} cases left out ({reason}): {', '.join(sorted(cases))}"
        return replace(self, models=models, cases=kept, notes=(*self.notes, note))


def line_up(
    models: Sequence[Model],
    reference_folder: Path,
    file_ending: str,
    *,
    splits: Mapping[int, Sequence[str]] | None = None,
    folds: Sequence[int] | None = None,
    common: bool = False,
    same_labels: bool = True,
) -> LineUp:
    """Check that the models line up, or cut them to what they share.

    Args:
        models: as read from their folders.
        reference_folder: holds one file per case.
        file_ending: of the segmentations.
        splits: which validation cases each fold must have; without, every reference must be predicted.
        folds: the folds asked for; all by default.
        common: cut to the cases that every model has in the same fold, instead of refusing.
        same_labels: label values mean the same in all models, so that their voxel counts can be compared.

    Raises:
        ValueError: with the list of everything that does not line up.
    """
    references = segmentations_in(reference_folder, file_ending)
    expected = _expected_cases(models, references, splits, folds)
    problems: dict[str, set[str]] = {}
    for model in models:
        _check_against(model, expected, problems)
    for case in sorted(expected):
        if case not in references:
            problems.setdefault(f"no reference in {reference_folder}", set()).add(case)
    if same_labels:
        _check_same_reference(models, problems)
    every = tuple(sorted(set(expected).union(*(model.cases for model in models))))
    bad = set().union(*problems.values())
    if not problems:
        return LineUp(tuple(model.only(every) for model in models), every, references)
    listing = "\n".join(f"  {problem}: {shortened(sorted(cases), 12)}" for problem, cases in problems.items())
    if not common:
        raise ValueError(
            f"the models do not line up:\n{listing}\n"
            "Predict what is missing (nnUNetv2_train … --val), name the folds to compare with --folds, "
            "or compare on what all models share with --common."
        )
    kept = tuple(case for case in every if case not in bad)
    if not kept:
        raise ValueError(f"no case in common:\n{listing}")
    note = f"cut to the {len(kept)} cases in common, of {len(every)}. Left out:\n{listing}"
    return LineUp(tuple(model.only(kept) for model in models), kept, references, (note,))


def _expected_cases(
    models: Sequence[Model],
    references: Iterable[str],
    splits: Mapping[int, Sequence[str]] | None,
    folds: Sequence[int] | None,
) -> dict[str, int]:
    """Case → fold that every model must have: by the splits file, else all references and what any model has.

    A case that no model predicted must be noticed too: without it, all would be measured on the rest in silence.
    """
    if splits is not None and (folds is not None or any(model.folds != [NO_FOLD] for model in models)):
        wanted = splits if folds is None else folds
        if unknown := sorted(set(wanted) - set(splits)):
            raise ValueError(f"--folds {unknown}: the cross-validation has the folds {sorted(splits)}")
        return {case: fold for fold in wanted for case in splits[fold]}
    expected = dict.fromkeys(references, NO_FOLD) if folds is None else {}
    for model in models:
        for case in model.cases.values():
            if expected.get(case.case, NO_FOLD) == NO_FOLD:
                expected[case.case] = case.fold
    return expected


def _check_against(model: Model, expected: Mapping[str, int], problems: dict[str, set[str]]) -> None:
    missing_folds = sorted(set(expected.values()) - set(model.folds) - {NO_FOLD})
    for case, fold in expected.items():
        if case in model.cases:
            own = model.cases[case].fold
            if own not in (fold, NO_FOLD):
                problem = f"{model.name} predicts in fold {own} what belongs to fold {fold}: trained on other cases"
                problems.setdefault(problem, set()).add(case)
            continue
        if fold in missing_folds and model.folds != [NO_FOLD]:
            problem = f"{model.name} has no predictions of fold {fold} ({model.folder}/fold_{fold}/validation)"
        else:
            problem = f"{model.name} lacks predictions ({model.folder})"
        problems.setdefault(problem, set()).add(case)
    for case in model.cases:
        if case not in expected:
            problems.setdefault(f"{model.name} has cases that the splits do not expect there", set()).add(case)


def _check_same_reference(models: Sequence[Model], problems: dict[str, set[str]]) -> None:
    """By the reference's voxel counts in nnU-Net's summaries: unequal counts mean unequal references."""
    for case in set().union(*(model.nnunet_metrics for model in models)):
        seen: dict[str, set[int]] = {}
        for model in models:
            for key, values in model.nnunet_metrics.get(case, {}).items():
                if "n_ref" in values:
                    seen.setdefault(key, set()).add(int(values["n_ref"]))
        if any(len(counts) > 1 for counts in seen.values()):
            problem = "nnU-Net's summary.json files were computed against different references"
            problems.setdefault(problem, set()).add(case)
