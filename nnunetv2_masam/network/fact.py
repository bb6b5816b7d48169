"""FacT in tensor-train form: low-rank increments to the queries and values of all blocks.

q += s·V(Σq(U x)) and v += s·V(Σv(U x)), with U (E → R) and V (R → E) shared by all blocks and by query and value, and
Σq, Σv (R × R) each block's own; dropout between Σ and V; V starts at zero, so that training starts at the frozen
network. Source: Jie and Deng, FacT (AAAI 2023); MA-SAM, section 3.2.
"""

from __future__ import annotations

from torch import Tensor, nn

from nnunetv2_masam.network.adaptation import Adaptation


class FacTCores(Adaptation):
    """One block's own factors, Σq and Σv."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.q = nn.Linear(rank, rank, bias=False)
        self.v = nn.Linear(rank, rank, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(…, R) to Σq x and Σv x, (…, R) each."""
        return self.q(x), self.v(x)


class FacT(Adaptation):
    """The factors U and V that all blocks share."""

    def __init__(self, dim: int, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.scale = scale
        self.u = nn.Linear(dim, rank, bias=False)
        self.v = nn.Linear(rank, dim, bias=False)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.v.weight)

    def forward(self, x: Tensor, cores: FacTCores) -> tuple[Tensor, Tensor]:
        """(…, E) to the increments of query and value, (…, E) each."""
        q, v = cores(self.scale * self.u(x))  # (…, R) each
        return self.v(self.dropout(q)), self.v(self.dropout(v))


class FacTBetween(FacT):
    """U of one width and V of another, for a block between the two widths; both belong to others."""

    def __init__(self, before: FacT, after: FacT) -> None:
        nn.Module.__init__(self)
        self.scale = before.scale
        self.u, self.v, self.dropout = before.u, after.v, after.dropout
