"""The classes of a video dataset, and its masks: PNG files of ids or colours, to nnU-Net's labels and back."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from nnunetv2_masam.files import read_json

Colour = tuple[int, int, int]

IGNORE = "ignore"  # nnU-Net's name for the label that does not count
IDS, COLOURS = "ids", "colours"
MAX_ID = 2**16 - 1  # masks of ids have at most 16 bits
_UNLISTED = 255
_ORIENTATION = 0x0112  # EXIF's number of the tag


@dataclass(frozen=True)
class VideoClass:
    """One class; its place in a table of classes is nnU-Net's label.

    Attributes:
        name: in ``dataset.json``.
        id: its value in masks of ids.
        colour: its colour in masks of colours, RGB from 0 to 255, if it has one.
    """

    name: str
    id: int
    colour: Colour | None = None


def order_classes(classes: Iterable[VideoClass], source: Path | str) -> tuple[VideoClass, ...]:
    """Check a table of classes and put it into nnU-Net's order: background first, the ignore label last.

    Background is the class that is called so, else the one with id 0; it is renamed, since nnU-Net wants the name.

    Raises:
        ValueError: no background, a name, id or colour twice, or more classes than fit.
    """
    table = sorted(classes, key=lambda c: (c.name == IGNORE, c.id))
    background = [c for c in table if c.name == "background"] or [c for c in table if c.id == 0]
    if not background:
        raise ValueError(f"{source}: no class is called background or has the id 0; add one")
    rest = [c for c in table if c is not background[0]]
    ordered = (VideoClass("background", background[0].id, background[0].colour), *rest)
    _refuse_twice("name", [c.name for c in ordered], source)
    _refuse_twice("id", [c.id for c in ordered], source)
    _refuse_twice("colour", [c.colour for c in ordered if c.colour is not None], source)
    if len(ordered) > _UNLISTED:
        raise ValueError(f"{source}: {len(ordered)} classes, expected at most {_UNLISTED}")
    return ordered


def _refuse_twice(what: str, values: Sequence[Hashable], source: Path | str) -> None:
    if twice := sorted({str(value) for value in values if values.count(value) > 1}):
        raise ValueError(f"{source}: the {what} {', '.join(twice)} is given to several classes")


def read_classes(path: Path) -> tuple[VideoClass, ...]:
    """Read a ``labels.json`` in one of its usual forms.

    - a list, or ``{"classes": list}``, of ``{"name", "classid", "color"}``, as EndoVis 2018 has it;
    - ``{name: id}``, or ``{name: [r, g, b]}`` with ids in the order of the file.

    Raises:
        ValueError: unreadable, or of another form.
    """
    content = read_json(path)
    entries = content.get("classes", content) if isinstance(content, dict) else content
    try:
        if isinstance(entries, list):
            found = [VideoClass(str(e["name"]), int(e["classid"]), _as_colour(e.get("color"))) for e in entries]
        else:
            found = [_named_class(name, value, place) for place, (name, value) in enumerate(entries.items())]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected {{name: id}}, {{name: [r, g, b]}} or a list of "
            f'{{"name": …, "classid": …, "color": [r, g, b]}} ({type(error).__name__}: {error})'
        ) from error
    return order_classes(found, path)


def _named_class(name: str, value: Any, place: int) -> VideoClass:
    if isinstance(value, list):
        return VideoClass(name, place, _as_colour(value))
    return VideoClass(name, int(value))


def _as_colour(value: Sequence[int] | None) -> Colour | None:
    if value is None:
        return None
    r, g, b = (int(part) for part in value[:3])  # a fourth number is an opacity
    if not all(0 <= part <= 255 for part in (r, g, b)):
        raise ValueError(f"colour {list(value)}: expected numbers from 0 to 255")
    return r, g, b


def classes_of_ids(ids: Iterable[int]) -> tuple[VideoClass, ...]:
    """A table for masks of ids that no ``labels.json`` names; 0 is background."""
    return order_classes([VideoClass(f"class_{i}", i) for i in sorted({0, *ids})], "masks")


class MaskReader:
    """Reads masks as nnU-Net's labels.

    Grey images hold ids, RGB images colours, palette images colours where the classes have some and else ids.

    Args:
        classes: in nnU-Net's order.
        unlisted_as_background: take values outside the table as background instead of refusing them.

    Attributes:
        kind: ``"ids"`` or ``"colours"``, by the first mask that was read.
        unlisted_pixels: how many pixels were taken as background for lack of a class.
    """

    def __init__(self, classes: Sequence[VideoClass], *, unlisted_as_background: bool = False) -> None:
        self.classes = tuple(classes)
        self.unlisted_as_background = unlisted_as_background
        self.kind: str | None = None
        self.unlisted_pixels = 0
        self._labels_of = {
            IDS: _lookup(MAX_ID + 1, {c.id: label for label, c in enumerate(self.classes)}),
            COLOURS: _lookup(2**24, {_code(c.colour): label for label, c in enumerate(self.classes) if c.colour}),
        }

    def read(self, path: Path) -> np.ndarray:
        """Labels of a mask, uint8 (H, W).

        Raises:
            ValueError: not an image of ids or colours, or a value that no class has.
        """
        has_colours = any(c.colour for c in self.classes)
        values, kind = read_mask_values(path, palettes_are_colours=has_colours)
        if kind == COLOURS and not has_colours:
            values, kind = _ids_of_grey(values, path), IDS
        self.kind = self.kind or kind
        if values.max() >= len(self._labels_of[kind]):
            raise ValueError(f"{path}: holds the id {values.max()}, expected less than {len(self._labels_of[kind])}")
        labels = self._labels_of[kind][values]
        unlisted = labels == _UNLISTED
        if unlisted.any():
            if not self.unlisted_as_background:
                raise ValueError(self._unlisted_message(path, values[unlisted], kind))
            self.unlisted_pixels += int(unlisted.sum())
            labels[unlisted] = 0
        return labels

    def _unlisted_message(self, path: Path, values: np.ndarray, kind: str) -> str:
        found, counts = np.unique(values, return_counts=True)
        worst = int(found[counts.argmax()])
        shown = list(_decode(worst)) if kind == COLOURS else worst
        known = [list(c.colour) for c in self.classes if c.colour] if kind == COLOURS else [c.id for c in self.classes]
        return (
            f"{path}: {counts.sum()} pixels hold {kind} that no class has, mostly {shown}; the classes have "
            f"{known}. Correct masks or labels.json, or take such pixels as background with --unlisted-as-background"
        )


def read_mask_values(path: Path, *, palettes_are_colours: bool) -> tuple[np.ndarray, str]:
    """Read the values of a mask, (H, W): ids, or colours as 65536·r + 256·g + b; and which of the two."""
    with _open(path) as image:
        if image.mode in ("RGB", "RGBA") or (image.mode == "P" and palettes_are_colours):
            rgb = np.asarray(image.convert("RGB")).astype(np.uint32)
            return (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2], COLOURS
        if image.mode in ("L", "P", "1", "I", "I;16"):
            values = np.asarray(image).astype(np.int64)
            if values.min() < 0:
                raise ValueError(f"{path}: holds the id {values.min()}, expected no negative ids")
            return values, IDS
        raise ValueError(f"{path}: image mode {image.mode}, expected grey (ids), palette or RGB (colours)")


def read_frame(path: Path) -> np.ndarray:
    """A frame as uint8 (H, W, 3); grey frames give three equal channels.

    Raises:
        ValueError: not an image of eight bits.
    """
    with _open(path) as image:
        if image.mode not in ("RGB", "RGBA", "L", "P"):
            raise ValueError(f"{path}: image mode {image.mode}, expected RGB or grey with eight bits")
        return np.asarray(image.convert("RGB"))


def is_turned(path: Path) -> bool:
    """Whether a picture's EXIF says to turn or mirror it."""
    with Image.open(path) as image:
        return image.getexif().get(_ORIENTATION, 1) != 1


def write_mask(path: Path, labels: np.ndarray, classes: Sequence[VideoClass], kind: str) -> None:
    """Write labels (H, W) as a mask of ids or colours.

    Raises:
        ValueError: a label that no class has, or colours asked for where a class has none.
    """
    values = check_writable(classes, kind)
    if labels.max() >= len(values):
        raise ValueError(f"{path.stem}: label {labels.max()}, but there are {len(values)} classes")
    Image.fromarray(values[labels]).save(path)


def check_writable(classes: Sequence[VideoClass], kind: str) -> np.ndarray:
    """Values that masks of this kind hold for each label: (K,) ids or (K, 3) colours."""
    if kind == IDS:
        ids = [c.id for c in classes]
        return np.array(ids, np.uint8 if max(ids) < 256 else np.uint16)
    if lacking := [c.name for c in classes if c.colour is None]:
        raise ValueError(f"the dataset names no colour for {', '.join(lacking)}; write masks of ids with --ids")
    return np.array([c.colour for c in classes], np.uint8)


def scale(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame (H, W, 3) or labels (H, W) at another (height, width): smoothly, or by the nearest pixel."""
    if picture.shape[:2] == size:
        return picture
    method = Image.Resampling.BICUBIC if picture.ndim == 3 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), method))


def find_values(paths: Iterable[Path]) -> tuple[set[int], set[Colour]]:
    """All ids, and all colours, that masks hold; RGB images whose channels are equal count as ids."""
    ids: set[int] = set()
    colours: set[Colour] = set()
    for path in paths:
        values, kind = read_mask_values(path, palettes_are_colours=False)
        found = [int(value) for value in np.unique(values)]
        if kind == COLOURS and any(len(set(_decode(code))) > 1 for code in found):
            colours.update(_decode(code) for code in found)
        else:
            ids.update(_decode(code)[0] if kind == COLOURS else code for code in found)
    return ids, colours


def _open(path: Path) -> Image.Image:
    """A picture, turned upright as its EXIF says: viewers and labelling tools show it so."""
    try:
        image = Image.open(path)
        image.load()
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's of a file that is cut off or damaged
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error


def _ids_of_grey(codes: np.ndarray, path: Path) -> np.ndarray:
    ids = codes & 255
    if not (codes == ids * 0x010101).all():
        raise ValueError(f"{path}: holds colours, but the classes have only ids; give their colours in labels.json")
    return ids


def _lookup(size: int, labels: Mapping[int, int]) -> np.ndarray:
    table = np.full(size, _UNLISTED, np.uint8)
    for value, label in labels.items():
        if not 0 <= value < size:
            raise ValueError(f"class id {value}: expected 0 to {size - 1}")
        table[value] = label
    return table


def _code(colour: Colour) -> int:
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]


def _decode(code: int) -> Colour:
    return code >> 16, (code >> 8) & 255, code & 255
