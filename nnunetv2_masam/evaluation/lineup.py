"""Check that cases, folds and references of all models agree before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from nnunetv2_masam.files import shortened

NO_FOLD = -1  # of predictions that belong to no fold, such as those of a test set
Problems = dict[str, set[str]]


def line_up(
    found: pd.DataFrame,
    folders: Mapping[str, str],
    references: tuple[Path, Mapping[str, Path]],
    *,
    splits: Mapping[int, Sequence[str]] | None,
    folds: Sequence[int] | None,
    common: bool,
    recorded: pd.DataFrame,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Check that all models have the same cases in the same folds, or cut them to what they share.

    Args:
        found: ``model, run, case, fold, prediction``, as read.
        folders: of the models, for messages; their order is that of the result.
        references: their folder, and the file of each case.
        splits: which validation cases each fold must have; without, every reference must be predicted.
        folds: the folds asked for; all if None.
        common: cut to the cases that every model has in the same fold, instead of refusing.
        recorded: what nnU-Net's summaries say, of models whose label values mean the same.

    Returns:
        the rows of the cases that are compared, by model, run and case, each with its fold, and notes.

    Raises:
        ValueError: with the list of everything that does not line up.
    """
    expected = _expected_cases(found, references[1], splits, folds)
    problems: Problems = {}
    for model, folder in folders.items():
        runs = found[found["model"] == model]
        for _, cases in runs.groupby("run"):
            _check_against(model, folder, cases, expected, problems)
    missing = {case for case in expected if case not in references[1]}
    if missing:
        problems[f"no reference in {references[0]}"] = missing
    counts = recorded.dropna(subset="n_ref").groupby(["case", "key"])["n_ref"].nunique()
    if unequal := set(counts.index[counts > 1].get_level_values("case")):
        problems["nnU-Net's summary.json files were computed against different references"] = unequal
    every = set(expected) | set(found["case"])
    bad = set().union(*problems.values())
    kept = found[~found["case"].isin(bad)]
    notes: tuple[str, ...] = ()
    if problems:
        listing = "\n".join(f"  {problem}: {shortened(sorted(cases), 12)}" for problem, cases in problems.items())
        if not common:
            raise ValueError(
                f"the models do not line up:\n{listing}\n"
                "Predict what is missing (nnUNetv2_train … --val), name the folds to compare with --folds, "
                "or compare on what all models share with --common."
            )
        if kept.empty:
            raise ValueError(f"no case in common:\n{listing}")
        left = kept["case"].nunique()
        notes = (f"cut to the {left} cases in common, of {len(every)}. Left out:\n{listing}",)
    # a model without folds does not know the fold of a case, so the others are asked
    kept = kept.assign(fold=kept.groupby("case")["fold"].transform("max"))
    order = {name: place for place, name in enumerate(folders)}
    kept = kept.sort_values(["model", "run", "case"], key=lambda c: c.map(order) if c.name == "model" else c)
    return kept.reset_index(drop=True), notes


def _expected_cases(
    found: pd.DataFrame,
    references: Iterable[str],
    splits: Mapping[int, Sequence[str]] | None,
    folds: Sequence[int] | None,
) -> dict[str, int]:
    """Case → fold that every model must have: by the splits file, else all references and what any model has.

    A case that no model predicted must be noticed too: without it, all would be measured on the rest in silence.
    """
    if splits is not None and (folds is not None or (found["fold"] != NO_FOLD).any()):
        return {case: fold for fold in (splits if folds is None else folds) for case in splits[fold]}
    expected = dict.fromkeys(references, NO_FOLD) if folds is None else {}
    for case, fold in zip(found["case"], found["fold"], strict=True):
        if expected.get(case, NO_FOLD) == NO_FOLD:
            expected[case] = fold
    return expected


def _check_against(
    model: str, folder: str, cases: pd.DataFrame, expected: Mapping[str, int], problems: Problems
) -> None:
    fold_of = dict(zip(cases["case"], cases["fold"], strict=True))
    folds = set(fold_of.values())
    for case, fold in expected.items():
        if case in fold_of:
            if fold_of[case] in (fold, NO_FOLD):
                continue
            problem = f"{model} predicts in fold {fold_of[case]} what belongs to fold {fold}: trained on other cases"
        elif fold not in (*folds, NO_FOLD) and folds != {NO_FOLD}:
            problem = f"{model} has no predictions of fold {fold} ({folder}/fold_{fold}/validation)"
        else:
            problem = f"{model} lacks predictions ({folder})"
        problems.setdefault(problem, set()).add(case)
    if unexpected := {case for case in fold_of if case not in expected}:
        problems.setdefault(f"{model} has cases that the splits do not expect there", set()).update(unexpected)


def leave_out(cases: pd.DataFrame, bad: Iterable[str], reason: str) -> tuple[pd.DataFrame, str]:
    """Leave out cases of all models; returns the rest and a note that says so."""
    left_out, total = sorted(set(bad)), cases["case"].nunique()
    kept = cases[~cases["case"].isin(left_out)].reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"no case is left: all {total} were left out ({reason})")
    return kept, f"{len(left_out)} of {total} cases left out ({reason}): {', '.join(left_out)}"
