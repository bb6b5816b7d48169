"""The runs that the documentation's pictures of a box and of a video are taken from: nnU-Net's and our commands.

Both datasets are synthetic. Steps whose results are there are skipped, so an interrupted run continues.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

REPOSITORY = Path(__file__).resolve().parents[1]
BOX_TRAINER, VIDEO_TRAINER = "nnUNetTrainerMASAM_box_picture", "nnUNetTrainerMASAM_video_picture"
CLASSES = {"background": [0, 0, 0], "shaft": [0, 114, 178], "tip": [230, 159, 0]}
LIVER = 1  # label of the demonstration's phantom
FRAME = (72, 96)  # pixels along y and x


def set_environment(workspace: Path) -> None:
    """nnU-Net's folders below ``workspace``, and the trainers, for the commands that are started."""
    for name in ("raw", "preprocessed", "results"):
        (workspace / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(workspace / name)
    trainers = [str(REPOSITORY / "docs" / "site" / "trainers"), str(REPOSITORY / "trainers")]
    os.environ["nnUNet_extTrainer"] = os.pathsep.join(trainers)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), trainers[1], os.environ.get("PYTHONPATH", "")])
    os.environ["nnUNet_n_proc_DA"] = "1"


def run_box(workspace: Path) -> Path:
    """Train with boxes around the liver of the demonstration's phantom; returns the folder of the predictions."""
    raw, inputs, predictions = workspace / "raw", workspace / "box-inputs", workspace / "box-predictions"
    phantom = raw / "Dataset900_Phantom"
    if not phantom.is_dir():
        call(sys.executable, REPOSITORY / "demo" / "phantom.py", phantom, "--cases", "12", "--test-cases", "1")
    if not (raw / "Dataset901_PhantomBoxes").is_dir():
        masam("boxes", "dataset", "-d", "900", "-o", "Dataset901_PhantomBoxes", "--label", "liver")
    train("901", workspace / "preprocessed" / "Dataset901_PhantomBoxes", BOX_TRAINER)
    if not inputs.is_dir():
        masam("boxes", "oracle", "-i", phantom / "imagesTs", "-o", inputs, "--references", phantom / "labelsTs",
              "--label", "liver", "--margin-mm", "3")  # fmt: skip
    predict("901", inputs, predictions, BOX_TRAINER)
    return predictions


def run_video(workspace: Path) -> Path:
    """Train on synthetic videos of an instrument; returns the folder of the masks of a video that was held out."""
    source, masks = workspace / "Video", workspace / "video-masks"
    if not source.is_dir():
        for number in range(5):
            write_video(source / f"video{number}", seed=number)
        colours = ", ".join(f'"{name}": {colour}' for name, colour in CLASSES.items())
        (source / "labels.json").write_text(f"{{{colours}}}", "utf-8")
    if not (workspace / "raw" / "Dataset902_Instrument").is_dir():
        masam("convert", "video", source, "-d", "902", "--name", "Instrument", "--test", "video4")
    train("902", workspace / "preprocessed" / "Dataset902_Instrument", VIDEO_TRAINER)
    predictions = workspace / "video-predictions"
    predict("902", workspace / "raw" / "Dataset902_Instrument" / "imagesTs", predictions, VIDEO_TRAINER)
    if not masks.is_dir():
        masam("frames", "-d", "902", "-i", predictions, "-o", masks)
    return masks


def write_video(folder: Path, seed: int, count: int = 20) -> None:
    """An instrument that moves over textured tissue, with a lamp's fall-off and noise."""
    rng = np.random.default_rng(seed)
    tissue = ndimage.gaussian_filter(rng.normal(size=(*FRAME, 3)), (4, 4, 0), mode="wrap") * 4
    y, x = np.mgrid[: FRAME[0], : FRAME[1]]
    for part in ("frames", "masks"):
        (folder / part).mkdir(parents=True)
    angle, reach = rng.uniform(0.2, 0.7), rng.uniform(38, 52)
    for n in range(count):
        turn = angle + 0.25 * np.sin(n / 5 + seed)
        along = x * np.cos(turn) + (y - FRAME[0] / 4) * np.sin(turn)
        across = -x * np.sin(turn) + (y - FRAME[0] / 4) * np.cos(turn)
        end = reach + 9 * np.sin(n / 4)
        labels = np.zeros(FRAME, np.uint8)
        labels[(np.abs(across) < 5.5) & (along < end)] = 1
        labels[(np.abs(across) < 4 - 0.25 * (along - end)) & (along >= end) & (along < end + 16)] = 2
        light = np.exp(-((y - FRAME[0] / 2) ** 2 + (x - FRAME[1] / 2) ** 2) / 3500)[..., None]
        frame = np.array([150, 70, 65]) + 30 * np.roll(tissue, n, axis=1)
        shine = np.exp(-(across[..., None] ** 2) / 8)
        frame = np.where(labels[..., None] == 1, 70 + 110 * shine, frame)
        frame = np.where(labels[..., None] == 2, 120 + 80 * shine, frame)
        frame = frame * (0.45 + 0.6 * light) + rng.normal(0, 5, frame.shape)
        Image.fromarray(frame.clip(0, 255).astype(np.uint8)).save(folder / "frames" / f"frame{n:03d}.png")
        colours = np.array(list(CLASSES.values()), np.uint8)
        Image.fromarray(colours[labels]).save(folder / "masks" / f"frame{n:03d}.png")


def train(number: str, preprocessed: Path, trainer: str) -> None:
    """Plan, preprocess and train fold 0 where that is missing."""
    if not (preprocessed / "nnUNetPlans_3d_fullres").is_dir():
        call("nnUNetv2_plan_and_preprocess", "-d", number, "-c", "3d_fullres", "-np", "1", "-npfp", "1")
    fold = Path(os.environ["nnUNet_results"]) / preprocessed.name / f"{trainer}__nnUNetPlans__3d_fullres" / "fold_0"
    if not (fold / "validation" / "summary.json").is_file():
        call("nnUNetv2_train", number, "3d_fullres", "0", "-tr", trainer, "-device", "cpu")


def predict(number: str, images: Path, output: Path, trainer: str) -> None:
    """Predict where that is missing."""
    if not output.is_dir():
        call("nnUNetv2_predict", "-i", images, "-o", output, "-d", number, "-c", "3d_fullres", "-f", "0",
             "-tr", trainer, "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_progress_bar")  # fmt: skip


def masam(*arguments: object) -> None:
    """A command of this package."""
    call(sys.executable, "-m", "nnunetv2_masam.cli", *arguments)


def call(command: str, *arguments: object) -> None:
    """Run a command of this environment; a failure ends the script."""
    path = shutil.which(command, path=str(Path(sys.executable).parent)) or command
    print("$", command, *arguments, flush=True)
    subprocess.run([path, *map(str, arguments)], check=True)
