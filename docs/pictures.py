"""Draw the documentation's pictures from what the package computes: ``docs/images``.

    python docs/pictures.py                       # the network and the planner: seconds
    python docs/pictures.py --workspace FOLDER    # also a box and a video, after two short trainings on a CPU
    python docs/pictures.py --report FOLDER       # also the page that compare -o FOLDER wrote; needs Chromium
    python docs/pictures.py --crossval            # also the results of the cross-validation

The last also writes the cross-validation's table into the README.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pictures_crossval as crossval
import pictures_runs as runs
import SimpleITK as sitk
import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

from nnunetv2_masam.files import read_json, read_text, write_text
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.planning.explain import explain_configuration

REPOSITORY = Path(__file__).resolve().parents[1]
IMAGES = REPOSITORY / "docs" / "images"
RESULTS = REPOSITORY / "benchmarks" / "results"
# Okabe and Ito's colours, which remain different for colour-blind readers
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#666666"
FROZEN, TRAINED, DATA = "#D6E6F2", "#FBE3B5", "#EEEEEE"
TIMES = " \N{MULTIPLICATION SIGN} "
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="folder for the trainings, which are resumed")
    parser.add_argument("--report", type=Path, help="output folder of nnUNetv2_masam compare")
    parser.add_argument("--crossval", action="store_true", help="draw the cross-validation of benchmarks/results")
    args = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    plt.rcParams.update({"font.size": 10, "font.family": "DejaVu Sans", "savefig.facecolor": "white"})
    save(draw_network(), "network")
    save(draw_planner(), "planner")
    if args.workspace:
        workspace = args.workspace.resolve()
        runs.set_environment(workspace)
        save(draw_box(workspace, runs.run_box(workspace)), "box")
        save(draw_video(workspace, runs.run_video(workspace)), "video")
    if args.report:
        photograph(args.report / "report.html", IMAGES / "compare.png")
    if args.crossval:
        summaries = crossval.read_summaries()
        save(crossval.draw_scores(summaries), "crossval-scores")
        save(crossval.draw_differences(summaries), "crossval-differences")
        crossval.write_section(REPOSITORY / "README.md", summaries)


def save(figure: plt.Figure, name: str) -> None:
    """Write a picture with a white ground, so that it is legible in dark mode too, and few colours."""
    path = IMAGES / f"{name}.png"
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


# ---- the network


def shapes_of(network: MASAM, volume: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Shapes of what the parts of a network return for a volume, by the names of the parts."""
    found: dict[str, tuple[int, ...]] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: note(found, name, out))
    found["logits"] = tuple(network(volume).shape)
    return found


def note(found: dict[str, tuple[int, ...]], name: str, out: Any) -> None:
    """Remember the shape of an output that is a tensor."""
    if isinstance(out, torch.Tensor):
        found[name] = tuple(out.shape)


def draw_network() -> plt.Figure:
    """ViT-B on a patch of abdominal CT, with the shapes that a forward pass has."""
    volume = (1, 1, 5, 512, 512)
    with FakeTensorMode(), mock.patch("torch.nn.init.trunc_normal_"), torch.no_grad():  # shapes without values
        network = MASAM(1, 14).eval()
        network.kernels = "plain"
        shape = {name: TIMES.join(map(str, size)) for name, size in shapes_of(network, torch.empty(volume)).items()}
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad) / 1e6
    everything = sum(p.numel() for p in network.parameters()) / 1e6
    depth = len(network.image_encoder.blocks)
    steps = [
        ("patch of a volume\n(B, C, D, H, W)", TIMES.join(map(str, volume)), DATA),
        (
            "slices on the batch axis,\nresized in plane",
            TIMES.join(map(str, (volume[0] * volume[2], 1, *network.image_size))),
            DATA,
        ),
        (f"patch embedding\n16{TIMES}16 pixels → a token", shape["image_encoder.patch_embed"], FROZEN),
        (f"{depth} transformer blocks", shape["image_encoder.blocks.0"], FROZEN),
        ("neck", shape["image_encoder.neck"], FROZEN),
        ("mask decoder: transformer,\nfour doublings of the grid", shape["mask_decoder.output_upscaling"], TRAINED),
        ("each class token\nweights 8 channels", shape["mask_decoder"], TRAINED),
        ("logits\n(B, K, D, H, W)", shape["logits"], DATA),
    ]
    block = [
        ("3D adapter: convolves over the slices", TRAINED),
        ("attention", FROZEN),
        ("FacT: added to its query and value", TRAINED),
        ("3D adapter", TRAINED),
        ("MLP", FROZEN),
    ]
    figure, axes = plt.subplots(figsize=(9.5, 7.2))
    for index, (text, size, colour) in enumerate(steps):
        box(axes, (0, -index), (3.6, 0.72), text, colour)
        axes.text(3.85, -index, size, va="center", family="DejaVu Sans Mono", fontsize=9)
        if index:
            axes.annotate("", (1.8, -index + 0.37), (1.8, -index + 0.63), arrowprops={"arrowstyle": "->"})
    axes.text(8.1, -1.35, "one block; each part adds to the tokens", ha="center", weight="bold")
    for index, (text, colour) in enumerate(block):
        box(axes, (6.3, -2 - 0.62 * index), (3.6, 0.5), text, colour)
    axes.plot([5.7, 6.25], [-3, -2.0], color=GREY, lw=0.8)
    axes.plot([5.7, 6.25], [-3, -4.5], color=GREY, lw=0.8)
    for index, (text, colour) in enumerate(
        [("frozen, SAM's weights", FROZEN), (f"trained: {trained:.1f} of {everything:.1f} million parameters", TRAINED)]
    ):
        axes.add_patch(Rectangle((6.3, -6.1 - 0.5 * index), 0.35, 0.25, facecolor=colour, edgecolor=GREY))
        axes.text(6.8, -5.97 - 0.5 * index, text, va="center")
    axes.set(xlim=(-0.1, 10.1), ylim=(-7.5, 0.5))
    axes.axis("off")
    return figure


def box(axes: Axes, middle_left: tuple[float, float], size: tuple[float, float], text: str, colour: str) -> None:
    """A rounded box with text, its left edge's middle at ``middle_left``."""
    (x, y), (width, height) = middle_left, size
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x, y - height / 2), width, height, boxstyle=style, facecolor=colour, edgecolor=GREY))
    axes.text(x + width / 2, y, text, ha="center", va="center", fontsize=9)


# ---- the planner


def draw_planner(vram_gb: float = 24.0) -> plt.Figure:
    """What ``plan --explain`` compares for ViT-H on abdominal CT: memory, speed, and the plan."""
    plans = read_json(RESULTS / "baseline-plans.json")["plans"]["Dataset017_BTCV"]["configurations"]["3d_fullres"]
    table = explain_configuration(plans, PlanningRules(vit="vit_h"), num_classes=14, vram_gb=vram_gb)
    head, *rows = ([cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines())
    column = {name: head.index(name) for name in ("input, pixels", "checkpointing", "GB", "speed")}
    figure, axes = plt.subplots(figsize=(8.5, 0.55 * len(rows) + 1.1))
    for index, row in enumerate(rows):
        memory, chosen = float(row[column["GB"]]), "the plan" in row
        axes.barh(-index, memory, color=BLUE if chosen else "#9CC3DC", height=0.62)
        words = f"{memory:.1f} GB, speed {row[column['speed']]}" + ", the plan" * chosen
        axes.text(vram_gb + 0.5, -index, words, va="center", weight="bold" if chosen else "normal")
    labels = [
        f"{row[column['input, pixels']]} pixels, micro-batch {row[2].split()[0]}"
        + ", checkpointing" * (row[column["checkpointing"]] == "yes")
        for row in rows
    ]
    axes.axvline(vram_gb, color=ORANGE, lw=2, ls="--")
    axes.text(vram_gb, 0.75, f"target {vram_gb:.0f} GB", ha="center", va="bottom", color="#8A5A00")
    axes.set_yticks([-index for index in range(len(rows))], labels)
    axes.set(xlim=(0, vram_gb * 1.6), xlabel="predicted GPU memory, GB")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


# ---- a box and a video


def draw_box(workspace: Path, predictions: Path | None) -> plt.Figure:
    """An unseen case: the image with its boxes, the reference, and what the network segments if it was trained."""
    (path,) = (workspace / "raw" / "Dataset900_Phantom" / "labelsTs").glob("*.nii.gz")
    case = path.name.removesuffix(".nii.gz")
    image, channel = (read(workspace / "box-inputs" / f"{case}_{number:04d}.nii.gz") for number in range(2))
    masks = {"reference": read(path) == runs.LIVER}
    if predictions is not None:
        masks["predicted liver"] = read(predictions / path.name) == runs.LIVER
    z = int(np.argmax(masks["reference"].sum(axis=(1, 2))))
    figure, panels = plt.subplots(1, 1 + len(masks), figsize=(3.2 * (1 + len(masks)), 3.5))
    for panel, title in zip(panels, ("image and box prompt", *masks), strict=True):
        panel.imshow(image[z], cmap="gray")
        panel.contour(channel[z], levels=[0.5], colors=ORANGE, linewidths=1.5)
        panel.set_title(title)
        panel.axis("off")
    for panel, mask in zip(panels[1:], masks.values(), strict=True):
        panel.contourf(mask[z], levels=[0.5, 1.5], colors=[BLUE], alpha=0.55)
    figure.tight_layout()
    return figure


def draw_video(workspace: Path, masks: Path) -> plt.Figure:
    """Frames of a video that was held out, and its predicted masks over them."""
    (folder,) = (path for path in masks.iterdir() if path.is_dir())
    files = sorted(folder.glob("*.png"))
    chosen = [files[len(files) * part // 4] for part in range(1, 4)]
    figure, panels = plt.subplots(2, 3, figsize=(9.5, 4.9))
    for (upper, lower), path in zip(panels.T, chosen, strict=True):
        frame = np.asarray(Image.open(workspace / "Video" / folder.name / "frames" / path.name).convert("RGB"))
        mask = np.asarray(Image.open(path).convert("RGB"))
        inside = mask.any(axis=2, keepdims=True)
        upper.imshow(frame)
        lower.imshow(np.where(inside, 0.35 * frame + 0.65 * mask, frame).astype(np.uint8))
        upper.set_title(path.stem)
        for panel in (upper, lower):
            panel.set(xticks=[], yticks=[])
    panels[0, 0].set_ylabel("frame")
    panels[1, 0].set_ylabel("predicted (blue: shaft, orange: tip)")
    figure.tight_layout()
    return figure


def read(path: Path) -> np.ndarray:
    """The voxels of an image file, (D, H, W)."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


# ---- comparisons


def photograph(page: Path, target: Path) -> None:
    """A screenshot of the top of a report, by Chromium."""
    found = [browser for browser in map(shutil.which, BROWSERS) if browser]
    if not found:
        sys.exit(f"no browser: looked for {', '.join(BROWSERS)}. Install Chromium, or leave out --report")
    with tempfile.TemporaryDirectory() as folder:
        shown = Path(folder, "report.html")
        write_text(shown, re.sub(r">(?:/[^/<>\s]+)+/(\w+)<", r">…/\1<", read_text(page)))  # folders of this machine
        command = [found[0], "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   f"--user-data-dir={folder}", "--window-size=1000,1000", f"--screenshot={folder}/page.png",
                   shown.as_uri()]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(f"{folder}/page.png") as picture:
            picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
