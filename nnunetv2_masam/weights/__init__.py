"""SAM and MA-SAM weights: the known files, reading any of their formats safely, downloading, loading."""

from nnunetv2_masam.weights.download import find_sam_checkpoint, resolve_sam_checkpoint
from nnunetv2_masam.weights.formats import read_sam_state_dict
from nnunetv2_masam.weights.load import LoadReport, load_masam_checkpoint, load_sam_checkpoint
from nnunetv2_masam.weights.safe_read import CheckpointError

__all__ = [
    "CheckpointError",
    "LoadReport",
    "find_sam_checkpoint",
    "load_masam_checkpoint",
    "load_sam_checkpoint",
    "read_sam_state_dict",
    "resolve_sam_checkpoint",
]
