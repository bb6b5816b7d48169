"""Ranks of processes that train together, on one node or on several."""

from __future__ import annotations

from torch import distributed


def global_rank() -> int:
    """Rank of this process in the whole group; 0 where it trains alone.

    A trainer's ``local_rank`` may be that within a node, where every node has a rank 0.
    """
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
