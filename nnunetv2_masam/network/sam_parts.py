"""The parts of ``segment_anything`` that MA-SAM takes as they are.

They are loaded past ``segment_anything/__init__.py``, which imports torchvision: one that does not match torch should
not stop a network that never calls it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _load_modeling() -> ModuleType:
    """``segment_anything.modeling`` as the package ``<this module>.modeling``."""
    package = importlib.util.find_spec("segment_anything")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("segment_anything is not installed: pip install segment-anything")
    folder = Path(package.origin).parent / "modeling"
    spec = importlib.util.spec_from_file_location(
        f"{__name__}.modeling", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_modeling = _load_modeling()

MLP = _modeling.mask_decoder.MLP
LayerNorm2d = _modeling.common.LayerNorm2d
MLPBlock = _modeling.common.MLPBlock
PromptEncoder = _modeling.PromptEncoder
TwoWayTransformer = _modeling.TwoWayTransformer
