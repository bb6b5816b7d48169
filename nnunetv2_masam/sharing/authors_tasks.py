"""How the MA-SAM authors prepare the images of their tasks, and where nnU-Net differs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AuthorsTask:
    """The authors' preparation of the images of a task.

    Attributes:
        window: intensities (HU) that become 0 and 1, those beyond clipped; None scales each volume's range to 0…1.
        in_plane: (H, W) of the images, voxels.
        differences: what nnU-Net does otherwise than the authors' preparation of this task.
    """

    window: tuple[float, float] | None
    in_plane: tuple[int, int]
    differences: tuple[str, ...]


TASKS = {
    "btcv": AuthorsTask(
        window=(-200.0, 250.0),
        in_plane=(512, 512),
        differences=(
            "After the window, the authors stretch each stack of five slices to [0, 1]; here the window alone does it. "
            "The same wherever a stack reaches both ends of the window (air and dense bone).",
            "The authors' models of 12 classes have both adrenal glands as class 12; labels must be merged to compare.",
        ),
    ),
    "prostate": AuthorsTask(
        window=None,
        in_plane=(384, 384),
        differences=(
            "The authors clip each volume at its 99 % quantile before scaling it to [0, 1]; nnU-Net has no such "
            "normalisation, so the brightest voxel becomes 1 and all others are darker than in training. Clip the "
            "images at that quantile beforehand and there is no difference.",
        ),
    ),
    "generic": AuthorsTask(window=None, in_plane=(512, 512), differences=()),
}

DIFFERENCES = (
    "nnU-Net averages the logits of the passes that cover a slice, in half precision, and takes the softmax of the "
    "mean; the authors average softmaxes.",
    "Its commands weigh the passes by a Gaussian, the middle slice of a stack most (1, 0.28 and 0.006 at a distance of "
    "0, 1 and 2 slices); the authors weigh them equally, as nnUNetPredictor(use_gaussian=False) does.",
    "The first and last four slices of a volume are covered by fewer than five passes; the authors repeat the first "
    "and last slice twice and run a pass for each slice.",
    "Borders that are zero in all slices are cropped; what is smaller than the patch in plane (or has fewer than five "
    "slices) is padded with zeros, what is larger is covered by several patches. The authors resize every slice to "
    "the network's input, which happens here only to the patch.",
    "Where patch and network input differ, images are resized by bicubic interpolation and logits by bilinear; the "
    "authors use cubic splines for the images and the probabilities.",
    "On CUDA the network computes in half precision; the authors predict in single precision.",
)
