"""Which cell of one photograph is which of another: optimal transport (Cuturi 2013).

Unbalanced (Chizat et al. 2018): a block of the reference that has no counterpart gives less of its
mass, where otherwise it would take cells from blocks that have one.
"""

from torch import Tensor

TEMPERATURE = 0.05  # of the similarity: lower is more decided
ROUNDS = 4  # of Sinkhorn's; ten find no more landmarks
GIVEN = 0.9  # power of the rows' factors: 1 has each row give all of its mass, 0 whatever fits
LEAST = 1e-30  # no division by 0


def optimal_transport(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """(N, M), its maximum 1: the kernel, rows and columns scaled, columns to equal masses.

    It is worked out in the kernel's place. And the factors of the columns, (M,), with which places
    outside of the N read their own rows. A cell that looks like many others gets little of each,
    which nearest neighbours do not know.
    """
    rows, columns = kernel.new_empty(len(kernel)), kernel.new_ones(kernel.shape[1])
    for _ in range(ROUNDS):
        rows = (1 / len(kernel)) / (kernel @ columns).clamp_(min=LEAST)
        rows = rows.pow_(GIVEN)
        columns = (1 / len(columns)) / (rows @ kernel).clamp_(min=LEAST)
    plan = kernel.mul_(rows[:, None]).mul_(columns)
    return plan.div_(plan.max().clamp(min=LEAST)), columns


def kernel_of(similarity: Tensor) -> Tensor:
    """exp(similarity / TEMPERATURE), its maximum 1, in the similarity's place."""
    return similarity.sub_(similarity.max()).div_(TEMPERATURE).exp_()
