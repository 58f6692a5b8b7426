"""What the occlusion is measured against: full passes of masked pictures, and Captum.

Both are as well tuned as they can be: in the batch that serves them best.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.machine import seconds

RIVAL_BATCHES = {"cpu": (1, 4, 8, 16, 32), "cuda": (32, 128, 256)}  # the best of them is taken
BoxCorners = tuple[tuple[int, int], ...]


def best_forward(module: nn.Module, x: Tensor) -> tuple[Callable[[Tensor], Tensor], int, bool]:
    """The fastest of the batches, plain and compiled with its weights frozen.

    Where there is no compiler, plain.
    """
    compiled = torch.compile(module, dynamic=False, options={"freezing": True})
    tried: list[tuple[float, int, bool]] = []
    with torch.inference_mode():
        for batch in RIVAL_BATCHES[x.device.type]:
            for is_compiled, forward in ((False, module), (True, compiled)):
                try:
                    tried.append((_per_picture(forward, x, batch), batch, is_compiled))
                except Exception:
                    continue
    _, batch, is_compiled = min(tried)
    return (compiled if is_compiled else module), batch, is_compiled


def _per_picture(forward: Callable[[Tensor], Tensor], x: Tensor, batch: int) -> float:
    pictures = x.repeat(batch, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    forward(pictures)
    return min(seconds(lambda: forward(pictures), x.device.type) for _ in range(3)) / batch


@torch.inference_mode()
def full(
    forward: Callable[[Tensor], Tensor], x: Tensor, corners: BoxCorners, box: int, batch: int
) -> Tensor:
    """(P, C) logits of each masked picture; all batches have one size, so that nothing is compiled
    twice.
    """
    logits = []
    for first in range(0, len(corners), batch):
        pictures = x.repeat(batch, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        for picture, (top, left) in zip(pictures, corners[first : first + batch], strict=False):
            picture[:, top : top + box, left : left + box] = 0
        logits.append(forward(pictures))
    return torch.cat(logits)[: len(corners)]


def best_captum(module: nn.Module, x: Tensor) -> int:
    """Chosen on 49 large boxes: what a pass costs does not depend on their size."""
    box, step = x.shape[-1] // 2, -(-x.shape[-1] // 12)
    captum(module, x, box, step, 1)
    return min(
        RIVAL_BATCHES[x.device.type],
        key=lambda batch: seconds(lambda: captum(module, x, box, step, batch), x.device.type),
    )


@torch.inference_mode()
def captum(module: nn.Module, x: Tensor, box: int, step: int, per_pass: int) -> Tensor:
    from captum.attr import Occlusion  # heavy, and wanted here alone

    shape, strides = (3, box, box), (3, step, step)
    attributions: Tensor = Occlusion(module).attribute(
        x, shape, strides=strides, target=0, perturbations_per_eval=per_pass
    )
    return attributions
