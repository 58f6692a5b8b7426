"""Whole passes by OpenVINO and by ONNX Runtime: a network exported, as a user would who has a CPU.

Both run in float32, on as many threads as PyTorch has here, in the batch that serves them best.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.machine import seconds

EXPORT_BATCHES = (1, 4, 8, 16)
Logits = NDArray[np.float32]
Forward = Callable[[NDArray[np.float32]], Logits]  # (N, 3, S, S) to (N, C)


def openvino(module: nn.Module, x: Tensor) -> tuple[Forward, dict[str, object]]:
    """The quickest of the batches and of OpenVINO's two hints."""
    import openvino as ov

    model = ov.convert_model(module.cpu().float(), example_input=x.cpu())
    return quickest(partial(openvino_at, model, x), x, ("LATENCY", "THROUGHPUT"))


def openvino_at(model: object, x: Tensor, batch: int, hint: str) -> Forward:
    import openvino as ov

    model.reshape([batch, *x.shape[1:]])  # type: ignore[attr-defined]
    compiled = ov.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": hint,
            "INFERENCE_PRECISION_HINT": "f32",  # some CPUs would take bfloat16 unasked
        },
    )

    def forward(pictures: NDArray[np.float32]) -> Logits:
        logits: Logits = compiled(pictures)[0]
        return logits

    return forward


def onnxruntime(module: nn.Module, x: Tensor) -> tuple[Forward, dict[str, object]]:
    """The quickest of the batches."""
    forward = onnx_session(module, x)
    return quickest(lambda batch, _: forward, x, ("",))


def onnx_session(module: nn.Module, x: Tensor) -> Forward:
    """For any batch."""
    from onnxruntime import InferenceSession, SessionOptions

    program = torch.onnx.export(
        module.cpu().float(),
        (x.cpu().expand(2, -1, -1, -1),),  # of one picture the batch would become a constant
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1024)},),
        verbose=False,
    )
    assert program is not None
    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = InferenceSession(
        program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (entry,) = session.get_inputs()

    def forward(pictures: NDArray[np.float32]) -> Logits:
        logits: Logits = session.run(None, {entry.name: pictures})[0]
        return logits

    return forward


def quickest(
    at: Callable[[int, str], Forward], x: Tensor, hints: tuple[str, ...]
) -> tuple[Forward, dict[str, object]]:
    tried = []
    for batch in EXPORT_BATCHES:
        pictures = x.cpu().repeat(batch, 1, 1, 1).contiguous().numpy()
        for hint in hints:
            forward = at(batch, hint)
            forward(pictures)  # the first call plans
            best = min(seconds(lambda: forward(pictures), "cpu") for _ in range(3)) / batch  # noqa: B023
            tried.append((best, batch, hint))
    _, batch, hint = min(tried)
    return at(batch, hint), {"batch": batch} | ({"hint": hint} if hint else {})


def masked(
    forward: Forward, x: Tensor, corners: tuple[tuple[int, int], ...], box: int, batch: int
) -> Logits:
    """(P, C) logits of each masked picture; the last batch is filled up with the first ones."""
    picture, logits = x.cpu().numpy(), []
    for first in range(0, len(corners), batch):
        pictures = np.repeat(picture, batch, 0)
        for one, (top, left) in zip(pictures, corners[first : first + batch], strict=False):
            one[:, top : top + box, left : left + box] = 0
        logits.append(forward(pictures).copy())
    return np.concatenate(logits)[: len(corners)]
