"""What the depth of the tiles at prediction does to the segmentation: accuracy, and agreement with the authors' way.

    python benchmarks/prediction_depth.py MODEL_FOLDER IMAGES_FOLDER LABELS_FOLDER

MODEL_FOLDER is one of nnU-Net's result folders with a MA-SAM model, the other two are in nnU-Net's raw layout. Each way
covers the same preprocessed cases with the same network: the authors' (a stack of as many slices as in training for
every slice, edges repeated, softmax averaged) and nnU-Net's sliding window with tiles of several depths. Writes
``benchmarks/results/prediction-depth.json``: Dice with the reference, Dice with the authors' way over all voxels and
over those that are no near tie there, and slices computed for each slice of the volume.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from environment import describe_environment
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window
from torch import Tensor

NEAR_TIES = (0.1, 0.2)  # difference of the two largest probabilities


def main() -> None:
    """Predict every way and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--depths", type=int, nargs="+", default=[5, 10, 20, 40], help="slices of a tile")
    args = parser.parse_args()
    predictor = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(args.model), (args.fold,), "checkpoint_final.pth")
    predictor.network.eval()
    configuration = predictor.configuration_manager.configuration
    stack = configuration.get("training_patch_size", configuration["patch_size"])[0]
    in_plane = configuration["patch_size"][1:]
    rows: dict[str, list[dict[str, float]]] = {}
    for labels in sorted(args.labels.glob(f"*{predictor.dataset_json['file_ending']}")):
        data, reference = _read_case(predictor, args.images, labels)
        configuration["patch_size"] = [stack, *in_plane]
        theirs = _authors_way(predictor, data, stack)  # (K, D, H, W)
        two = theirs.topk(2, dim=0).values
        certainty = (two[0] - two[1]).numpy()
        expected = theirs.argmax(0).numpy()
        rows.setdefault("authors", []).append(_compare(expected, reference, expected, certainty, stack))
        for depth in args.depths:
            configuration["patch_size"] = [depth, *in_plane]
            segmentation = predictor.predict_sliding_window_return_logits(data).argmax(0).numpy()
            padded = [max(n, p) for n, p in zip(data.shape[1:], configuration["patch_size"], strict=True)]
            tiles = np.prod(
                [len(s) for s in compute_steps_for_sliding_window(padded, configuration["patch_size"], 0.5)]
            )
            work = float(tiles) * depth / data.shape[1]
            name = f"sliding window, {depth} slices"
            rows.setdefault(name, []).append(_compare(segmentation, reference, expected, certainty, work))
        print(labels.name, {name: values[-1] for name, values in rows.items()}, flush=True)
    result = {
        "environment": describe_environment(),
        "settings": {
            "model": args.model.name,
            "fold": args.fold,
            "cases": len(rows["authors"]),
            "slices in training": stack,
        },
        "mean": {name: {k: round(float(np.mean([v[k] for v in vs])), 4) for k in vs[0]} for name, vs in rows.items()},
    }
    target = Path(__file__).parent / "results" / "prediction-depth.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _read_case(predictor: nnUNetPredictor, images: Path, labels: Path) -> tuple[Tensor, np.ndarray]:
    """Preprocessed image (C, D, H, W) and reference labels (D, H, W)."""
    ending = predictor.dataset_json["file_ending"]
    files = sorted(
        str(file) for file in images.glob(f"{labels.name.removesuffix(ending)}_[0-9][0-9][0-9][0-9]{ending}")
    )
    configuration = predictor.configuration_manager
    data, segmentation, _ = configuration.preprocessor_class(verbose=False).run_case(
        files, str(labels), predictor.plans_manager, configuration, predictor.dataset_json
    )
    return torch.from_numpy(np.asarray(data)).float(), np.asarray(segmentation)[0]


def _authors_way(predictor: nnUNetPredictor, data: Tensor, stack: int) -> Tensor:
    """Mean softmax (K, D, H, W) of the stacks that cover a slice."""
    margin = stack // 2
    padded = torch.cat([data[:, :1]] * margin + [data] + [data[:, -1:]] * margin, dim=1)
    classes = predictor.label_manager.num_segmentation_heads
    total = torch.zeros(classes, *padded.shape[1:])
    for start in range(data.shape[1]):
        part = slice(start, start + stack)
        total[:, part] += predictor.predict_sliding_window_return_logits(padded[:, part]).float().softmax(dim=0)
    return (total / stack)[:, margin:-margin]


def _compare(
    segmentation: np.ndarray, reference: np.ndarray, expected: np.ndarray, certainty: np.ndarray, work: float
) -> dict[str, float]:
    return {
        "dice": _dice(segmentation, reference),
        "dice_with_authors": _dice(segmentation, expected),
        **{
            f"dice_with_authors_where_certain_by_{tie}": _dice(segmentation[certainty > tie], expected[certainty > tie])
            for tie in NEAR_TIES
        },
        "slices_computed_per_slice": work,
    }


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over the labels of ``b``."""
    labels = [label for label in np.unique(b) if label > 0]
    return float(np.mean([2 * ((a == k) & (b == k)).sum() / ((a == k).sum() + (b == k).sum()) for k in labels]))


if __name__ == "__main__":
    main()
