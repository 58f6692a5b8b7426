"""One classifier with random weights, in a process of its own: `networks.py` starts it.

checks: read and added as a user would, logits compared with the module's and windows with masked
pictures in float64, and one detection. seconds: the boxes of a default detection, against whole
passes by PyTorch, OpenVINO and ONNX Runtime in turn, on one thread.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import weakpoints
from benchmarks import exported
from weakpoints.doctor import describe
from weakpoints.engine.engine import Incremental
from weakpoints.engine.windows.form import WindowsForm
from weakpoints.images.decode import decode
from weakpoints.loading import PHOTOGRAPH, load_detector
from weakpoints.method.detector import Detector
from weakpoints.method.occlusion import positions
from weakpoints.networks.graph.chain import network_of_graph
from weakpoints.networks.graph.files import read_graph
from weakpoints.networks.graph.sources import architecture
from weakpoints.networks.network import Network
from weakpoints.options import Limits, choose

CLASSES = 1000
NAME = "network"  # its files
BOXES = 3  # of the default size that are compared with masked pictures
PASSES = 12  # whole ones that are timed
BATCHES = (1, 4, 12)
ROUNDS = 3  # in turn, of which the quickest counts
BUDGET = 2**30
LOUD = 1e3  # logits beyond this are of weights that let numbers grow


def made(name: str) -> tuple[nn.Module, int]:
    """With random weights that do something, and the side of its pictures."""
    torch.manual_seed(0)
    name = name if ":" in name else f"torchvision:{name}"
    made = architecture(name, CLASSES, pretrained=False)
    module = made.module.eval().requires_grad_(False)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            layer.running_mean.normal_(0, 0.1)
            if layer.running_var is not None:
                layer.running_var.uniform_(0.7, 1.3)
    for tensor in module.parameters():
        if not tensor.any() or (tensor.abs() < 1e-3).all():  # branches that begin as nothing
            tensor.uniform_(0.1, 0.5)
    noise = torch.randn(4, 3, made.side, made.side)
    if module(noise).abs().max() > LOUD:
        _calibrate(module, noise)
    return module, made.side


def _calibrate(module: nn.Module, pictures: Tensor) -> None:
    """Batch-norms take these pictures' statistics.

    Else a deep network's random weights make its numbers grow from block to block, and rounding
    with them: timm's tf_efficientnetv2_s moved its logits by 1e-6 for noise of 1e-15.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    module(pictures)
    module.eval()


def detector_of(module: nn.Module, side: int, folder: Path) -> tuple[Detector, float, float]:
    """Added and loaded; the seconds of both."""
    labels = [f"class {i}" for i in range(CLASSES)]
    start = time.perf_counter()
    manifest = weakpoints.export(module, name=NAME, labels=labels, side=side, to=folder)
    added = time.perf_counter()
    detector = load_detector(manifest, NAME, "cpu")
    return detector, added - start, time.perf_counter() - added


@torch.no_grad()
def checks(name: str) -> dict[str, Any]:
    """apart: of logits in float64, over the largest; of the network's from the module's, and of
    windows' from those of masked pictures. saved: products of whole passes over those of windows.
    """
    module, side = made(name)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        detector, export_seconds, load_seconds = detector_of(module, side, folder)
        graph = read_graph(folder / f"{NAME}.graph.json", None)
        tensors = load_file(folder / f"{NAME}.safetensors")
    start = time.process_time()
    found = detector.locate(decode(PHOTOGRAPH.read_bytes(), Limits()), choose())
    detection_seconds = time.process_time() - start
    shown = describe(detector)
    exact = {key: tensor.double() if tensor.is_floating_point() else tensor
             for key, tensor in tensors.items()}  # fmt: skip
    network = network_of_graph(graph, exact, side, CLASSES)
    apart, boxes_apart = compared(network, module.double(), side, shown["patch"])
    return {
        "side": side,
        **{key: shown[key] for key in ("operations", "kinds", "parameters", "products", "patch")},
        **{key: shown[key] for key in ("stride", "boxes", "form", "why")},
        "saved": saved(detector),
        "export_seconds": export_seconds,
        "load_seconds": load_seconds,
        "detection_seconds": detection_seconds,
        "keypoints": len(found.keypoints),
        "apart": apart,
        "boxes_apart": boxes_apart,
    }


def saved(detector: Detector) -> float:
    """By windows, whatever was chosen."""
    side, options = detector.input.side, detector.resolved(choose())
    form = WindowsForm(detector.network, BUDGET)
    products = form.products(side, options.patch, corners_of(detector))
    return products.full / max(products.computed, 1)


def corners_of(detector: Detector) -> tuple[tuple[int, int], ...]:
    options = detector.resolved(choose())
    starts = positions(detector.input.side, options.patch, options.stride)
    return tuple((y, x) for y in starts for x in starts)


def compared(
    network: Network, module: nn.Module, side: int, box: int
) -> tuple[float, dict[str, float]]:
    """Of logits, and of boxes' logits in each form that the network may take."""
    x = torch.randn(1, 3, side, side, dtype=torch.float64)
    corners = tuple(((side - box) * i // (BOXES - 1), (side - box) // 3) for i in range(BOXES))
    colours = torch.randn(BOXES, 3, dtype=torch.float64)
    masked = x.repeat(BOXES, 1, 1, 1)
    for picture, (top, left), colour in zip(masked, corners, colours, strict=True):
        picture[:, top : top + box, left : left + box] = colour[:, None, None]
    expected = module(masked)
    form, forms = WindowsForm(network, 4 * BUDGET), {}
    for name in ("windows", "loops"):
        forms[name] = form.logits_of_chunk(x, corners, box, colours)
        form.compile()
    engine = Incremental(network, 4 * BUDGET)
    engine.compile()
    if engine.form.name != "windows":
        forms[engine.form.name] = engine.logits(network.trace(x), corners, box, colours)
    apart = {form: _apart(logits, expected) for form, logits in forms.items()}
    return _apart(network.logits(x), module(x)), apart


def _apart(logits: Tensor, expected: Tensor) -> float:
    return float((logits - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def seconds(name: str) -> dict[str, Any]:
    """Of the processor, for the boxes of one default detection: the best batch of each."""
    torch.set_num_threads(1)
    module, side = made(name)
    with tempfile.TemporaryDirectory() as folder:
        detector, *_ = detector_of(module, side, Path(folder))
    corners, box = corners_of(detector), detector.resolved(choose()).patch
    x = torch.randn(1, 3, side, side)
    trace, colours = detector.network.trace(x), torch.zeros(1, len(corners), 3)

    def ours() -> object:
        return detector.occluder.logits(trace, corners, box, colours)

    ways: dict[str, Callable[[], object]] = {"ours": ours}
    scales = {"ours": 1.0}
    settings: dict[str, Any] = {"form": detector.occluder.form.name}
    for rival, maker in (("eager", eager), ("openvino", openvino), ("onnxruntime", onnxruntime)):
        try:
            ways[rival], settings[rival] = best(maker(module, x), x)
            scales[rival] = len(corners) / PASSES
        except Exception as error:  # exporters raise almost anything
            settings[rival] = f"{type(error).__name__}: {str(error).strip()[:200]}"
    detector.occluder.compile()
    ours()  # plans
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            took[way].append(_processor(run) * scales[way])
    return {"boxes": len(corners), "seconds": {way: min(each) for way, each in took.items()},
            "spread": {way: max(each) - min(each) for way, each in took.items()},
            "settings": settings}  # fmt: skip


Forward = Callable[[Tensor], object]


def best(forward: Callable[[int], Forward], x: Tensor) -> tuple[Callable[[], object], int]:
    """All passes in the best batch, and that batch."""
    runs, took = {}, {}
    for batch in BATCHES:
        runs[batch], pictures = forward(batch), x.repeat(batch, 1, 1, 1).contiguous()
        runs[batch](pictures)  # the first call plans
        took[batch] = _processor(partial(runs[batch], pictures)) / batch
    batch = min(took, key=lambda batch: took[batch])
    pictures = x.repeat(batch, 1, 1, 1).contiguous()

    def passes() -> None:
        for _ in range(PASSES // batch):
            runs[batch](pictures)

    return passes, batch


def eager(module: nn.Module, x: Tensor) -> Callable[[int], Forward]:
    """In the order in memory that is quicker."""
    pictures, took = x.repeat(4, 1, 1, 1), {}

    def run(order: torch.memory_format, pictures: Tensor) -> object:
        return module(pictures.contiguous(memory_format=order))

    for order in (torch.contiguous_format, torch.channels_last):
        module.to(memory_format=order)
        run(order, pictures)
        took[order] = _processor(partial(run, order, pictures))
    order = min(took, key=lambda order: took[order])
    module.to(memory_format=order)
    return lambda _: partial(run, order)


def openvino(module: nn.Module, x: Tensor) -> Callable[[int], Forward]:
    import openvino as ov

    with redirect_stdout(sys.stderr):
        model = ov.convert_model(module, example_input=x)

    def at(batch: int) -> Forward:
        forward = exported.openvino_at(model, x, batch, "LATENCY")
        return lambda pictures: forward(pictures.numpy())

    return at


def onnxruntime(module: nn.Module, x: Tensor) -> Callable[[int], Forward]:
    with redirect_stdout(sys.stderr):
        forward = exported.onnx_session(module, x)
    return lambda _: lambda pictures: forward(pictures.numpy())


def _processor(run: Callable[[], object]) -> float:
    """Seconds of all threads: a busy machine hardly changes them."""
    start = time.process_time()
    run()
    return time.process_time() - start


def main(part: str, name: str) -> None:
    found = {"checks": checks, "seconds": seconds}[part](name)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
