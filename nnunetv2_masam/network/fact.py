"""FacT in tensor-train form: low-rank increments to the queries and values of all blocks.

q += s·V(Σq(U x)) and v += s·V(Σv(U x)), with U (E → R) and V (R → E) shared by all blocks and by query and value, and
Σq, Σv (R × R) each block's own; dropout between Σ and V; V starts at zero, so that training starts at the frozen
network. Source: Jie and Deng, FacT (AAAI 2023); MA-SAM, section 3.2.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class FacTCores(nn.Module):
    """One block's own factors, Σq and Σv."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.q = nn.Linear(rank, rank, bias=False)
        self.v = nn.Linear(rank, rank, bias=False)


class FacT(nn.Module):
    """The factors U and V that all blocks share.

    Args:
        dim: E, embedding width.
        rank: R.
        scale: s.
        dropout: probability of dropping an entry between Σ and V in training.
    """

    def __init__(self, dim: int, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.scale = scale
        self.u = nn.Linear(dim, rank, bias=False)
        self.v = nn.Linear(rank, dim, bias=False)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.v.weight)

    def reduce(self, x: Tensor, norm: nn.Module) -> Tensor:
        """s·U of the normalised input: (…, E) to (…, R).

        Normalised again in the backward pass: only U needs ``norm(x)`` there, the frozen projection does not.
        """
        return checkpoint(lambda x: self.scale * self.u(norm(x)), x, use_reentrant=False, preserve_rng_state=False)

    def add_increments(self, q: Tensor, v: Tensor, reduced: Tensor, cores: FacTCores) -> tuple[Tensor, Tensor]:
        """Query and value (…, E) with the increments for a :meth:`reduce`-d input (…, R)."""
        return q + self.v(self.dropout(cores.q(reduced))), v + self.v(self.dropout(cores.v(reduced)))

    def merge(self, qkv_weight: Tensor, cores: FacTCores) -> Tensor:
        """The projection's weight (3·E, E) with the increments added: the same outputs for one product fewer."""
        dim = qkv_weight.shape[1]
        merged = qkv_weight.clone()
        scaled_v = self.scale * self.v.weight
        merged[:dim] += scaled_v @ (cores.q.weight @ self.u.weight)
        merged[-dim:] += scaled_v @ (cores.v.weight @ self.u.weight)
        return merged
