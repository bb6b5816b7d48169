"""LoRA on query and value of one block's attention, as SAMed adapts SAM's image encoder.

q += B_q(A_q x) and v += B_v(A_v x), with A (E → R) and B (R → E) each block's own, no biases, no scale and no dropout;
B starts at zero, so that training starts at the frozen network. Source: Hu et al., LoRA (ICLR 2022); Zhang and Liu,
SAMed (2023, arXiv:2304.13785), section 3.2.
"""

from __future__ import annotations

from torch import Tensor, nn

from nnunetv2_masam.network.adaptation import Adaptation


class LoRA(Adaptation):
    """LoRA increments of one block's queries and values, of ``out`` channels where these are not E."""

    def __init__(self, dim: int, rank: int, out: int | None = None) -> None:
        super().__init__()
        self.a_q = nn.Linear(dim, rank, bias=False)
        self.b_q = nn.Linear(rank, out or dim, bias=False)
        self.a_v = nn.Linear(dim, rank, bias=False)
        self.b_v = nn.Linear(rank, out or dim, bias=False)
        nn.init.zeros_(self.b_q.weight)
        nn.init.zeros_(self.b_v.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(…, E) to the increments of query and value, (…, E) each."""
        return self.b_q(self.a_q(x)), self.b_v(self.a_v(x))
