"""SAM and MA-SAM weights: the known files, reading any of their formats safely, downloading, loading."""

from nnunetv2_masam.weights.formats import read_sam_state_dict
from nnunetv2_masam.weights.load import LoadReport, load_masam_checkpoint, load_sam_checkpoint
from nnunetv2_masam.weights.provenance import Provenance, identify
from nnunetv2_masam.weights.search import find_checkpoint, resolve_checkpoint
from nnunetv2_masam.weights.weight_files import CheckpointError

__all__ = [
    "CheckpointError",
    "LoadReport",
    "Provenance",
    "find_checkpoint",
    "identify",
    "load_masam_checkpoint",
    "load_sam_checkpoint",
    "read_sam_state_dict",
    "resolve_checkpoint",
]
