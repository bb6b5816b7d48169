"""Small videos on disk: a disc and a bar that move over a textured ground, in the layouts that are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SHAFT, CLASPER, KIDNEY = (0, 255, 0), (0, 255, 255), (255, 55, 0)  # of EndoVis 2018
COLOURS = {"background": (0, 0, 0), "disc": (200, 10, 10), "bar": (10, 10, 200)}


def draw(n: int, size: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frame (H, W, 3) and labels (H, W) of time n: 0 ground, 1 disc, 2 bar."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    labels = np.zeros(size, np.uint8)
    labels[(y - height / 2) ** 2 + (x - width * (0.25 + 0.02 * (n + seed))) ** 2 < (height / 5) ** 2] = 1
    labels[height // 8 + n % 5 : height // 8 + n % 5 + max(2, height // 8), width // 3 :] = 2
    ground = np.random.default_rng(1000 * seed + n).integers(40, 120, (*size, 3))
    tints = np.array([(60, 20, 20), (120, 40, 60), (90, 110, 120)])
    return (ground + tints[labels]).clip(0, 255).astype(np.uint8), labels


def write_video(
    folder: Path,
    count: int,
    *,
    size: tuple[int, int] = (24, 32),
    seed: int = 0,
    values: Sequence[int | tuple[int, int, int]] | None = (0, 1, 2),
    frames: str = "frames",
    masks: str = "masks",
    name: str = "frame{:d}.png",
) -> None:
    """Write a sequence; ``values`` are the ids or colours of the three labels, None writes no masks."""
    (folder / frames).mkdir(parents=True)
    for n in range(count):
        frame, labels = draw(n, size, seed)
        Image.fromarray(frame).save(folder / frames / name.format(n))
        if values is not None:
            (folder / masks).mkdir(exist_ok=True)
            Image.fromarray(np.array(values, np.uint8)[labels]).save(folder / masks / name.format(n))


def write_endovis18(source: Path, *, size: tuple[int, int] = (24, 32), count: int = 4) -> None:
    """The published layout: two releases, a shadow folder of macOS, repairs, and a test sequence with a name twice."""
    colours = ((0, 0, 0), SHAFT, KIDNEY)
    endovis = {"size": size, "values": colours, "frames": "left_frames", "masks": "labels", "name": "frame{:03d}.png"}
    first = source / "miccai_challenge_2018_release_1" / "miccai_challenge_2018_release_1"
    write_video(first / "seq_1", count, seed=1, **endovis)
    write_video(first / "seq_2", count, seed=2, **endovis)
    write_video(source / "miccai_challenge_release_3" / "seq_10", count, seed=3, **endovis)
    write_video(source / "test_data" / "test_data" / "seq_1-2018Z-001" / "seq_1", count, seed=4, **endovis)
    table = [("background-tissue", (0, 0, 0)), ("instrument-shaft", SHAFT), ("instrument-clasper", CLASPER)]
    entries = [{"name": name, "color": colour, "classid": n} for n, (name, colour) in enumerate(table)]
    (first / "labels.json").write_text(json.dumps(entries))
    wrapped = {"classes": [{**entry, "active": True, "color": [*entry["color"], 128]} for entry in entries]}
    (source / "test_data" / "test_data" / "labels.json").write_text(json.dumps(wrapped))
    shadow = first.parent / "__MACOSX" / first.name / "seq_1" / "left_frames"
    shadow.mkdir(parents=True)
    (shadow / "._frame000.png").write_bytes(b"\x00\x05\x16\x07")
    (first / "seq_1" / "left_frames" / "._frame000.png").write_bytes(b"\x00\x05\x16\x07")
