"""Which cell of one photograph is which of another: optimal transport (Cuturi 2013)."""

import torch
from torch import Tensor

TEMPERATURE = 0.05  # of the similarity: lower is more decided
ROUNDS = 4  # of Sinkhorn's; ten find no more landmarks
LEAST = 1e-30  # no division by 0


def optimal_transport(kernel: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """(N, M), its maximum 1: the kernel, its rows and columns scaled towards the two masses.

    It is worked out in the kernel's place. reference, target: (N,) and (M,), each of sum 1. A cell
    that looks like many others gets little of each, which nearest neighbours do not know.
    """
    columns = torch.ones_like(target)
    for _ in range(ROUNDS):
        rows = reference / (kernel @ columns).clamp_(min=LEAST)
        columns = target / (rows @ kernel).clamp_(min=LEAST)
    plan = kernel.mul_(rows[:, None]).mul_(columns)
    return plan.div_(plan.max().clamp(min=LEAST))


def kernel_of(similarity: Tensor) -> Tensor:
    """exp(similarity / TEMPERATURE), its maximum 1, in the similarity's place."""
    return similarity.sub_(similarity.max()).div_(TEMPERATURE).exp_()


def uniform(cells: int) -> Tensor:
    return torch.full((cells,), 1 / cells)
