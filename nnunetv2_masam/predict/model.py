"""A loaded model, which segments many cases one after the other, slab by slab."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nnunetv2_masam.predict.cases import Case, read_case
from nnunetv2_masam.predict.resample import labels_of, resample_slices, resampling_of
from nnunetv2_masam.predict.tiles import TileRow, logit_slabs, rows_of_tiles

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

_SLICES_AT_ONCE = 32  # of labels, copied to the host together


@dataclass(frozen=True)
class LabelSlab:
    """Labels of neighbouring slices.

    Attributes:
        where: the place in the image as its reader returns it: three slices, (D, H, W). Voxels that are in no slab are
            background, because nnU-Net crops what is zero in all channels.
        labels: of that place, uint8, or uint16 from 255 foreground labels on.
    """

    where: tuple[slice, slice, slice]
    labels: np.ndarray


@dataclass(frozen=True)
class Model:
    """A trained model; made by ``load_model``.

    Attributes:
        predictor: nnU-Net's, of which this uses the settings and parts.
        networks: one for each fold.
        results_device: where sums and logits are.
    """

    predictor: nnUNetPredictor
    networks: Sequence[nn.Module]
    results_device: torch.device

    def read(self, files: Sequence[str | Path], previous: str | Path | None = None) -> Case:
        """Read and preprocess a case.

        Args:
            files: one for each channel.
            previous: segmentation of the previous stage of a cascade.

        Raises:
            ValueError: the image does not fit the model.
        """
        return read_case(self.predictor, list(map(Path, files)), None if previous is None else Path(previous))

    def segment(self, case: Case, progress: Callable[[int, int], None] = lambda done, total: None) -> np.ndarray:
        """Labels (D, H, W) of a case, as its reader returns the image.

        Args:
            case: from ``read``.
            progress: called after each slab with the slices that are done and how many there are.

        Raises:
            ValueError: the network returns values that are not finite.
        """
        shape = [case.properties["shape_before_cropping"][axis] for axis in self._backward]
        labels = np.zeros(shape, self._dtype)
        axis = self._backward.index(0)
        for slab in self.slabs(case):
            labels[slab.where] = slab.labels
            progress(slab.where[axis].stop, shape[axis])
        progress(shape[axis], shape[axis])  # what is cropped at the end has no slab
        return labels

    def slabs(self, case: Case) -> Iterator[LabelSlab]:
        """Yield the labels of a case from the first slice to the last, in the axis order of the plans.

        Where the GPU's memory is too small for a slab of logits, they are kept in the host's memory, as in nnU-Net.

        Raises:
            ValueError: the network returns values that are not finite.
        """
        done = 0
        for device in dict.fromkeys((self.results_device, torch.device("cpu"))):
            start = 0
            try:
                for part in replace(self, results_device=device)._label_parts(case):
                    start += len(part)
                    if start > done:
                        yield self._placed(part[done - start :], done, case)
                        done = start
                return
            except torch.OutOfMemoryError:
                if device.type == "cpu":
                    raise
                torch.cuda.empty_cache()

    def _placed(self, part: Tensor, start: int, case: Case) -> LabelSlab:
        """Labels (n, H, W) of the plans' axes → those of the file."""
        box = case.properties["bbox_used_for_cropping"]
        first = box[0][0] + start
        where = [slice(first, first + len(part)), *(slice(int(low), int(high)) for low, high in box[1:])]
        labels = part.numpy().astype(self._dtype).transpose(self._backward)
        depth, height, width = (where[axis] for axis in self._backward)
        return LabelSlab((depth, height, width), labels)

    def _label_parts(self, case: Case) -> Iterator[Tensor]:
        """Labels (n, H, W) on the original grid, cropped; one copy from the device for each part."""
        manager = self.predictor.label_manager
        target = case.properties["shape_after_cropping_and_before_resampling"]
        to_mm = [case.properties["spacing"][axis] for axis in self.predictor.plans_manager.transpose_forward]
        configuration = self.predictor.configuration_manager
        planned = list(configuration.spacing)
        from_mm = planned if len(planned) == len(target) else [to_mm[0], *planned]
        rule = resampling_of(configuration.configuration, case.image.shape[1:], target, from_mm, to_mm)
        slices = (labels_of(planes, manager) for planes in resample_slices(self._logit_slices(case), rule))
        while part := list(islice(slices, _SLICES_AT_ONCE)):
            yield torch.stack(part).cpu()

    @torch.inference_mode()
    def _logit_slices(self, case: Case) -> Iterator[Tensor]:
        """Mean logits (K, H, W) of the slices of the preprocessed image."""
        from acvl_utils.cropping_and_padding.padding import pad_nd_image
        from nnunetv2.inference.sliding_window_prediction import compute_gaussian

        patch = self.predictor.configuration_manager.patch_size
        image, unpad = pad_nd_image(case.image, patch, "constant", {"value": 0}, True, None)
        previous = case.previous
        if previous is not None:
            previous, _ = pad_nd_image(previous, patch, "constant", {"value": 0}, True, None)
        rows = rows_of_tiles(self.predictor._internal_get_sliding_window_slicers(image.shape[1:]))
        gaussian = compute_gaussian(
            tuple(patch), sigma_scale=1.0 / 8, value_scaling_factor=10, device=self.results_device
        )
        networks = [self._forward(network) for network in self.networks]
        heads = self.predictor.label_manager.num_segmentation_heads
        shape, position = tuple(image.shape[1:]), 0

        def tile(row: TileRow, place: tuple[slice, slice]) -> Tensor:
            return self._tile(image, previous, (slice(None), row.index, *place))

        for slab in logit_slabs(tile, rows, networks, gaussian, shape, heads, self.results_device):
            sums = [logits.sum(dtype=torch.float32) for logits in slab.unbind(1)]
            if not torch.stack(sums).isfinite().all():
                raise ValueError("the network's logits are not finite: the model, or a value in the image, is damaged")
            for index in range(slab.shape[1]):
                if unpad[1].start <= position < unpad[1].stop:
                    yield slab[:, index, unpad[2], unpad[3]]
                position += 1

    def _tile(self, image: Tensor, previous: Tensor | None, where: tuple[Any, ...]) -> Tensor:
        """A tile of the image on the device, (1, C, …), with the previous stage's labels as one channel each."""
        x = image[where][None]
        if previous is not None:
            labels = self.predictor.label_manager.foreground_labels
            x = torch.cat([x, *(previous[where][None] == label for label in labels)], dim=1)
        return x.contiguous().to(self.predictor.device)

    def _forward(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        """nnU-Net's pass of one network over one tile, with mirroring and, on a GPU, autocast."""
        predictor = copy.copy(self.predictor)
        predictor.network = network
        device = self.predictor.device.type

        def forward(x: Tensor) -> Tensor:
            with torch.autocast(device) if device == "cuda" else contextlib.nullcontext():
                return predictor._internal_maybe_mirror_and_predict(x)

        return forward

    @property
    def _backward(self) -> list[int]:
        return list(self.predictor.plans_manager.transpose_backward)

    @property
    def _dtype(self) -> type[np.unsignedinteger[Any]]:
        return np.uint8 if len(self.predictor.label_manager.foreground_labels) < 255 else np.uint16
