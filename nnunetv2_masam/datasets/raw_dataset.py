"""A data set in nnU-Net's raw layout: written completely or not at all, and a report of what is in it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nnunetv2_masam.datasets.volumes import Found, LabelRule, Volume, convert_volume


@dataclass(frozen=True)
class DatasetSpec:
    """What ``dataset.json`` says of a data set.

    Attributes:
        name: ``Name`` of ``DatasetXXX_Name``.
        channel: name of the only channel, from which nnU-Net chooses the normalisation.
        labels: name → value, background included.
        reference: where the data come from.
        description: one sentence.
        reader: nnU-Net's reader, where it is not to choose one itself.
    """

    name: str
    channel: str
    labels: Mapping[str, int]
    reference: str
    description: str
    reader: str | None = None

    def dataset_json(self, training_cases: int) -> dict[str, Any]:
        """Content of ``dataset.json``."""
        content = {
            "channel_names": {"0": self.channel},
            "labels": dict(self.labels),
            "numTraining": training_cases,
            "file_ending": ".nii.gz",
            "name": self.name,
            "reference": self.reference,
            "description": self.description,
        }
        return content if self.reader is None else {**content, "overwrite_image_reader_writer": self.reader}


@dataclass(frozen=True)
class RawDataset:
    """A data set that was written.

    Attributes:
        folder: the data set's folder in nnUNet_raw.
        training: what was found in each training case.
        test: the same for cases without labels.
        spec: what it is.
    """

    folder: Path
    training: tuple[Found, ...]
    test: tuple[Found, ...]
    spec: DatasetSpec

    @property
    def cases(self) -> list[str]:
        """Names of the training cases."""
        return [found.case for found in self.training]


def free_folder(dataset_id: int, name: str) -> Path:
    """The folder of a new data set in nnUNet_raw.

    Raises:
        ValueError: if nnUNet_raw is not set, or the number is taken in any of nnU-Net's folders.
    """
    from nnunetv2.paths import nnUNet_raw
    from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

    if not 0 < dataset_id < 1000:
        raise ValueError(f"-d {dataset_id}: expected a number from 1 to 999")
    if not nnUNet_raw.is_set():
        raise ValueError("nnUNet_raw is not set: set it to the folder for raw data sets")
    taken = list(find_candidate_datasets(dataset_id))
    if taken:
        raise ValueError(
            f"-d {dataset_id}: the number is taken by {', '.join(map(str, taken))} in nnUNet_raw, nnUNet_preprocessed "
            "or nnUNet_results. Take another one, or remove those folders."
        )
    return Path(str(nnUNet_raw)) / f"Dataset{dataset_id:03d}_{name}"


def write_dataset(
    folder: Path, spec: DatasetSpec, volumes: Sequence[Volume], rule: LabelRule, processes: int = 1
) -> RawDataset:
    """Convert all volumes into a folder beside ``folder`` that takes its name at the end.

    Raises:
        ValueError: with everything that is wrong with the files; then nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        partial_folder = Path(temporary) / folder.name
        for part in ("imagesTr", "labelsTr", *(["imagesTs"] if any(v.label is None for v in volumes) else [])):
            (partial_folder / part).mkdir(parents=True)
        found = _map(partial(convert_volume, folder=partial_folder, rule=rule), volumes, processes)
        if problems := [problem for entry in found for problem in entry.problems]:
            listing = "\n".join(f"  {problem}" for problem in problems)
            raise ValueError(f"{len(problems)} files are not as expected, nothing was written:\n{listing}")
        labelled = {volume.case for volume in volumes if volume.label is not None}
        training = tuple(entry for entry in found if entry.case in labelled)
        test = tuple(entry for entry in found if entry.case not in labelled)
        (partial_folder / "dataset.json").write_text(json.dumps(spec.dataset_json(len(training)), indent=4))
        partial_folder.rename(folder)
    return RawDataset(folder, training, test, spec)


def _map(convert: Callable[[Volume], Found], volumes: Sequence[Volume], processes: int) -> list[Found]:
    def progress(found: Iterable[Found]) -> list[Found]:
        return list(tqdm(found, total=len(volumes), desc="converting", unit="case", disable=None))

    if processes <= 1:
        return progress(map(convert, volumes))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return progress(pool.map(convert, volumes))


def describe(dataset: RawDataset) -> str:
    """Cases, sizes, spacings, labels and notes as text."""
    lines = [f"{dataset.spec.name}: {len(dataset.training)} training cases, {len(dataset.test)} test cases"]
    every = (*dataset.training, *dataset.test)
    lines.append(f"  slices x rows x columns: {_ranges([found.size_vox for found in every], 'd')}")
    lines.append(f"  spacing (mm):            {_ranges([found.spacing_mm for found in every], '.3g')}")
    counts = Counter(label for found in dataset.training for label in found.labels)
    width = max(map(len, dataset.spec.labels))
    for name, value in dataset.spec.labels.items():
        if value:
            lines.append(f"  label {value:2d} {name:{width}s} in {counts[value]} cases")
    lines += [f"  note: {note}" for note in _notes(every)]
    lines.append(f"written: {dataset.folder}")
    return "\n".join(lines)


def _notes(every: Sequence[Found]) -> list[str]:
    by_note: dict[str, list[str]] = {}
    for found in every:
        for note in found.notes:
            by_note.setdefault(note, []).append(found.case)
    alike: dict[str, list[str]] = {}
    for found in every:
        alike.setdefault(found.digest, []).append(found.case)
    notes = [f"{note}: {', '.join(cases)}" for note, cases in by_note.items()]
    return notes + [f"the same image: {', '.join(cases)}" for cases in alike.values() if len(cases) > 1]


def _ranges(rows: Sequence[Sequence[float]], form: str) -> str:
    columns = ((min(column), max(column)) for column in zip(*rows, strict=True))
    return " x ".join(f"{low:{form}}" if low == high else f"{low:{form}}-{high:{form}}" for low, high in columns)
