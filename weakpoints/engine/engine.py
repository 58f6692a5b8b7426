"""The logits of one picture with boxes over it, exactly, computing only what the boxes change.

A box changes a window of each activation map; all around it is the clean trace. Three folders have
a form each in which windows are computed:

windows/ holds values x', by PyTorch's own operations and a loop for depthwise convolutions. It
takes any network: those with grouped convolutions on a CPU (MobileNetV2, EfficientNet-Lite0), and
all that are read from a graph of operations, with windows where they save enough (`choice`).
changes/ holds changes x' - x. VGGs and ResNets on a CPU take it: dense 3x3 convolutions of changes
need fewer products.
tiles/ holds values x', too. Tables of layers on a GPU take it, whose matrix units want equal tiles
of outputs, and in half precision.

What the last two have in common is in chunks.py: memory, threads, the classifier
(`representation` is what they owe it).
"""

from typing import Any

import torch
from torch import Tensor

from weakpoints.engine.changes.form import ChangesForm
from weakpoints.engine.chunks import Layered
from weakpoints.engine.classifier import Head
from weakpoints.engine.representation import Form
from weakpoints.engine.spans import Corners, Products
from weakpoints.engine.tiles.cuda_graphs import Recorder
from weakpoints.engine.tiles.form import TilesForm
from weakpoints.engine.tiles.plan import local
from weakpoints.engine.windows.form import WindowsForm
from weakpoints.networks.graph.segment import Segment
from weakpoints.networks.network import Conv, Layer, Network, Residual, Trace, converted
from weakpoints.progress import Progress, no_progress

BUDGET = {"cpu": 256 * 2**20, "cuda": 4 * 2**30}  # bytes


class Incremental:
    """A network prepared to answer for boxes. Threads may share it."""

    def __init__(
        self,
        network: Network,
        budget: int | None = None,
        dtype: torch.dtype | None = None,
        recorder: Recorder | None = None,
        triton: bool = True,
        form: WindowsForm | None = None,
    ) -> None:
        """budget: memory limit in bytes, without network, trace and answer; None: BUDGET's.

        dtype: of the windows; None: the network's. The last layer is left as it is, for a drop is a
        small difference of large logits. recorder: asks for `TilesForm`; see there. triton: whether
        the Triton kernels may be used, where there are any. form: the one that was
        chosen for the network.
        """
        self.network, self.dtype = network, dtype or network.like.dtype
        device = network.like.device
        budget = budget or BUDGET.get(device.type, BUDGET["cpu"])
        self._engine: Layered | WindowsForm
        if form is not None:
            self._engine = form
        elif takes_windows(network, self.dtype, recorder):
            whole = Network(converted(network.layers, self.dtype))
            self._engine = WindowsForm(whole, budget, windows=device.type == "cpu")
        else:
            layers = tuple(local(network.layers))
            front = form_of(converted(layers, self.dtype), device, self.dtype, recorder)
            head = Head(network.layers[len(layers) :], self.dtype)
            self._engine = Layered(front, head, len(layers), budget, triton=triton)

    @property
    def form(self) -> Any:
        """Of the windows; its name is told by doctor and benchmarks."""
        return self._engine if isinstance(self._engine, WindowsForm) else self._engine.form

    @torch.inference_mode()
    def logits(
        self,
        trace: Trace,
        corners: Corners,
        box: int,
        colours: Tensor,
        progress: Progress = no_progress,
    ) -> Tensor:
        """(..., P, C) logits with a box at each of P corners (y, x), filled with its colour of
        (..., P, 3).

        `progress` is told after every chunk how many boxes are done; what it raises stops the work.
        Raises OutOfMemoryError where the budget does not hold a single box.
        """
        fills = colours.to(self.dtype).reshape(-1, len(corners), 3)
        logits = self._engine.logits(trace, corners, box, fills, progress)
        return logits.view(*colours.shape[:-1], *logits.shape[2:])

    def compile(self) -> None:
        """Before more than a few pictures: what is worth it is compiled in the first one."""
        if isinstance(self._engine, WindowsForm):
            self._engine.compile()

    def price(self, side: int, box: int) -> int:
        """Multiplications for one box in the middle of a side x side picture."""
        middle = (side - box) // 2
        return self.products(side, box, ((middle, middle),)).computed

    def products(self, side: int, box: int, corners: Corners) -> Products:
        """Multiplications for boxes over a side x side picture."""
        return self._engine.products(side, box, corners)


def takes_windows(network: Network, dtype: torch.dtype, recorder: Recorder | None = None) -> bool:
    """Whether it is for `windows`: the other forms have no word for some of its operations, or
    are slower.
    """
    layers = network.layers
    if not tuple(local(layers)) or any(isinstance(layer, Segment) for layer in layers):
        return True
    on_cpu = _exact_on_cpu(network.like.device, dtype)
    return recorder is None and on_cpu and _grouped(layers)


def form_of(
    layers: tuple[Layer, ...], device: torch.device, dtype: torch.dtype, recorder: Recorder | None
) -> Form[Any, Any]:
    """Changes on a CPU, as measured. A GPU's matrix units want whole tiles of outputs, and half
    precision has no transforms.
    """
    if recorder is None and _exact_on_cpu(device, dtype):
        return ChangesForm(layers)
    return TilesForm(layers, device, recorder)


def _exact_on_cpu(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type != "cuda" and dtype in (torch.float32, torch.float64)


def _grouped(layers: tuple[Layer, ...]) -> bool:
    """Whether any convolution is grouped, within blocks too."""
    return any(
        (isinstance(layer, Conv) and layer.groups > 1)
        or (isinstance(layer, Residual) and _grouped(layer.main))
        for layer in layers
    )
