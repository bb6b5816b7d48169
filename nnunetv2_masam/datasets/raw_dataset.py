"""A dataset in nnU-Net's raw layout: written completely or not at all, and a report of what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nnunetv2_masam.datasets.volumes import Found, LabelRule, Volume, convert_volume
from nnunetv2_masam.files import atomic_folder, write_json


@dataclass(frozen=True)
class DatasetSpec:
    """Contents of a dataset's ``dataset.json``.

    Attributes:
        name: ``Name`` of ``DatasetXXX_Name``.
        channel: name of the only channel, from which nnU-Net chooses the normalisation.
        labels: name → value, background included.
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
    """A dataset that was written.

    Attributes:
        training: what was found in each training case.
        test: the same for cases without labels.
    """

    folder: Path
    training: tuple[Found, ...]
    test: tuple[Found, ...]
    spec: DatasetSpec

    @property
    def cases(self) -> list[str]:
        """Names of the training cases."""
        return [found.case for found in self.training]


def write_dataset(folder: Path, spec: DatasetSpec, volumes: Sequence[Volume], rule: LabelRule) -> RawDataset:
    """Convert all volumes to a new folder, whole or not at all.

    Raises:
        ValueError: with everything that is wrong with the files; then nothing is left behind.
    """
    with atomic_folder(folder) as unfinished:
        for part in ("imagesTr", "labelsTr", *(["imagesTs"] if any(v.label is None for v in volumes) else [])):
            (unfinished / part).mkdir()
        progress = tqdm(volumes, desc="converting", unit="case", disable=None)
        found = [convert_volume(volume, unfinished, rule) for volume in progress]
        if problems := [problem for entry in found for problem in entry.problems]:
            listing = "\n".join(f"  {problem}" for problem in problems)
            raise ValueError(f"{len(problems)} files are not as expected, nothing was written:\n{listing}")
        labelled = {volume.case for volume in volumes if volume.label is not None}
        training = tuple(entry for entry in found if entry.case in labelled)
        test = tuple(entry for entry in found if entry.case not in labelled)
        write_json(unfinished / "dataset.json", spec.dataset_json(len(training)), indent=4)
    return RawDataset(folder, training, test, spec)


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
    return [f"{note}: {', '.join(cases)}" for note, cases in by_note.items()]


def _ranges(rows: Sequence[Sequence[float]], form: str) -> str:
    columns = ((min(column), max(column)) for column in zip(*rows, strict=True))
    return " x ".join(f"{low:{form}}" if low == high else f"{low:{form}}-{high:{form}}" for low, high in columns)
