"""Make ``import argparse`` import Python's own module, even if another one comes first on the path.

nnU-Net needs batchgenerators, that needs unittest2, and that the package argparse 1.4.0 of 2015. It stands before
Python's own where packages come first on the path: ``pip install --target``, or ``PYTHONPATH`` on a ``site-packages``
folder, as the environment modules of clusters set it. This module is imported before any other that parses arguments.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from importlib.machinery import PathFinder


def load_own_argparse() -> None:
    """Put Python's own ``argparse`` into ``sys.modules``, unless it is there."""
    own = PathFinder.find_spec("argparse", [sysconfig.get_path("stdlib")])
    if own is None or own.loader is None or own.origin is None:  # Python's modules are in an archive
        return
    loaded = getattr(sys.modules.get("argparse"), "__file__", None)
    if loaded is None or not os.path.samefile(loaded, own.origin):
        sys.modules["argparse"] = importlib.util.module_from_spec(own)
        own.loader.exec_module(sys.modules["argparse"])


load_own_argparse()
