"""Networks of torchvision and timm, with random weights: read, compared with masking, and timed.

    python -m benchmarks.keep networks -- python -m benchmarks.networks NAME...

A name is torchvision's, or timm:NAME. Seconds are of the processor, in a thread that starts no
others: a busy machine hardly changes them.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from weakpoints.engine.threads import pool
from weakpoints.engine.windows.choice import chosen
from weakpoints.engine.windows.form import WindowsForm
from weakpoints.errors import WeightsError
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.export import graph_of

BUDGET = 2**30
BOXES = 6  # of the largest window, near the middle, that are timed and compared


def main(names: list[str]) -> None:
    with pool(1, apart=True) as each:
        found = dict(zip(names, each(measured, names), strict=True))
    json.dump({"boxes": BOXES, "networks": found}, sys.stdout)


@torch.no_grad()
def measured(name: str) -> dict[str, Any]:
    """products: of one pass, and of whole passes over those that windows compute, a default grid.

    seconds: of the boxes. apart: of logits, over the largest, in float32.
    """
    torch.manual_seed(0)
    module, side = _made(name)
    module.eval().requires_grad_(False)
    _statistics(module)
    start = time.perf_counter()
    try:
        graph, tensors = graph_of(module, side)
    except WeightsError as error:
        return {"refused": str(error)}
    exported = time.perf_counter() - start
    network = network_of_graph(graph, tensors, side)
    box = side // 7
    form, tried = chosen(network, BUDGET, side, box)
    starts = range(0, side - box + 1, box // 2)
    products = WindowsForm(network, BUDGET).products(
        side, box, tuple((y, x) for y in starts for x in starts)
    )
    x, middle = torch.randn(1, 3, side, side), (side - box) // 2
    corners = tuple((middle, middle + i - BOXES // 2) for i in range(BOXES))
    colours = torch.randn(BOXES, 3)
    pictures = x.repeat(BOXES, 1, 1, 1)
    for picture, (top, left), colour in zip(pictures, corners, colours, strict=True):
        picture[:, top : top + box, left : left + box] = colour[:, None, None]
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    eager = module.to(memory_format=torch.channels_last)
    ours, ours_seconds = _timed(lambda: form.logits_of_chunk(x, corners, box, colours))
    expected, eager_seconds = _timed(lambda: eager(pictures))
    return {
        "side": side,
        "operations": len(graph.operations),
        "export_seconds": exported,
        "products": products.full // len(starts) ** 2,
        "saved": products.full / products.computed,
        "form": form.name,
        "why": tried.why,
        "ours_seconds": ours_seconds,
        "eager_seconds": eager_seconds,
        "apart": float((ours - expected).abs().max() / expected.abs().max()),
    }


def _made(name: str) -> tuple[nn.Module, int]:
    """With random weights, and the side of its pictures."""
    if name.startswith("timm:"):
        timm: Any = import_module("timm")
        module = timm.create_model(name.removeprefix("timm:"), pretrained=False)
        return module, int(module.pretrained_cfg["input_size"][-1])
    from torchvision.models import get_model, get_model_weights

    extra: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    default: Any = get_model_weights(name)["DEFAULT"]
    return get_model(name, weights=None, **extra), int(default.transforms().crop_size[0])


def _timed(run: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """The quickest of three, the first of which may set things up."""
    seconds = []
    for _ in range(3):
        start = time.thread_time()
        out = run()
        seconds.append(time.thread_time() - start)
    return out, min(seconds)


def _statistics(module: nn.Module) -> None:
    """Batch-norms that do something."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            layer.running_mean.normal_(0, 0.1)
            if layer.running_var is not None:
                layer.running_var.uniform_(0.7, 1.3)


if __name__ == "__main__":
    main(sys.argv[1:])
