"""Options of the commands on videos. ``--help`` imports this module, so it needs neither numpy nor nnU-Net."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nnunetv2_masam.options import check_exclusive, option

DEFAULT_LONGEST_SIDE = 512  # pixels; what MA-SAM's authors train on, along both sides
DEFAULT_MAX_FRAMES = 50
_CASES = "cases"


@dataclass(frozen=True)
class CaseSize:
    """Length and size of the cases of videos."""

    size: tuple[int, int] | None = option(
        help="Scale all frames and masks to this size; MA-SAM's authors train on 512 512", default=None,
        group=_CASES, metavar=("HEIGHT", "WIDTH"), at_least=1, exclusive="size",
    )  # fmt: skip
    longest_side: int | None = option(
        help="Reduce larger frames to this along their longest side, with their proportions (default: "
        f"{DEFAULT_LONGEST_SIDE}, and for a model that of its dataset)",
        default=None,
        group=_CASES,
        metavar="PIXELS",
        at_least=1,
        exclusive="size",
    )
    original_size: bool = option(help="Keep the size of the frames", default=False, group=_CASES, exclusive="size")
    max_frames: int = option(
        help="Most frames of a case; bounds nnU-Net's memory", default=DEFAULT_MAX_FRAMES, group=_CASES, metavar="N",
        at_least=1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_exclusive(self)


@dataclass(frozen=True)
class VideoRequest:
    """A folder of videos to convert to a new dataset."""

    source: Path = option("source", help="Folder, laid out as below", group="input", metavar="SRC")
    dataset_id: int = option(
        "-d", "--dataset-id", help="Free number for the new dataset", group="output", metavar="ID", at_least=1
    )
    unlisted_as_background: bool = option(
        help="Take mask values that no class has as background; without this they are an error", default=False,
        group="input",
    )  # fmt: skip
    cases: CaseSize = field(default_factory=CaseSize)
    name: str | None = option(
        help="Name of the dataset (default: the folder's)", default=None, group="output", metavar="NAME"
    )
    test: tuple[str, ...] = option(
        help="Sequences to keep out of training: imagesTs, labelsTs (default: those without masks)", default=(),
        group="input", metavar="SEQUENCE",
    )  # fmt: skip


@dataclass(frozen=True)
class FramesRequest:
    """Videos without masks to convert to inputs of ``nnUNetv2_predict``."""

    source: Path = option("source", help="Folder of frames", group="input", metavar="SRC")
    output: Path = option("-o", "--output", help="New folder to write", group="output", metavar="DIR")
    dataset: str | None = option(
        "-d", "--dataset", default=None, group="input", metavar="ID",
        help="Dataset of the model: its classes give the masks their ids and colours (default: nnU-Net's labels)",
    )  # fmt: skip
    cases: CaseSize = field(default_factory=CaseSize)


@dataclass(frozen=True)
class MasksRequest:
    """Predictions to write as one mask per frame, for the cases of a dataset or of a ``frames.json``."""

    predictions: Path = option(
        "-i", "--predictions", help="Folder of nnU-Net's predictions", group="input", metavar="DIR"
    )
    output: Path = option(
        "-o", "--output", help="New folder to write: SEQUENCE/FRAME.png", group="output", metavar="DIR"
    )
    frame_map: Path | None = option(
        "-m", "--frame-map", help="The cases' frames.json, or the folder that convert frames wrote", group="input",
        metavar="PATH", exclusive="origin",
    )  # fmt: skip
    dataset: str | None = option(
        "-d", "--dataset", help="Dataset that the cases belong to", default=None, group="input", metavar="ID",
        exclusive="origin",
    )  # fmt: skip
    ids: bool = option(help="Write grey masks of ids", default=False, group="output", exclusive="kind")
    colours: bool = option(
        help="Write RGB masks (default: what the dataset's masks were)", default=False, group="output",
        exclusive="kind",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_exclusive(self)


@dataclass(frozen=True)
class ScoresRequest:
    """Predictions to score."""

    dataset: str = option("-d", "--dataset", help="Dataset that the cases belong to", group="input", metavar="ID")
    predictions: tuple[Path, ...] = option(
        "-i", "--predictions", help="Folders of nnU-Net's predictions", group="input", metavar="DIR"
    )
    references: Path | None = option(
        "-r", "--references", help="Folder of references (default: the dataset's labelsTr and labelsTs)",
        default=None, group="input", metavar="DIR",
    )  # fmt: skip
