"""A module as a graph: torch.export reads it once, and the module's code is not needed again."""

import copy
import operator
from typing import Any

import torch
from torch import Tensor, nn

from weakpoints.errors import WeightsError
from weakpoints.networks.graph import dtypes
from weakpoints.networks.graph.graph import Graph, Operation, function

NUMBERS = {operator.getitem: "getitem", operator.add: "int_add", operator.sub: "int_sub",
           operator.mul: "int_mul", operator.floordiv: "int_floordiv"}  # fmt: skip
GONE = {"dropout", "dropout_", "feature_dropout", "alias", "detach", "detach_", "lift_fresh_copy"}
CHECKS = {"_assert_tensor_metadata", "sym_constrain_range_for_size", "_assert_scalar"}
MOST_SIDE = 4096  # as a manifest allows
TOLERANCE = 1e-10  # of the largest logit, in float64


def graph_of(module: nn.Module, side: int) -> tuple[Graph, dict[str, Tensor]]:
    """The graph and its tensors, compared with the module on noise.

    Raises WeightsError with torch.export's own reason where it refuses the module.
    """
    module = _plain(module, side)
    modes = {part: part.training for part in module.modules()}
    try:
        return _graph_of(module.eval(), side)
    finally:  # it is the caller's, who may go on training it
        for part, training in modes.items():
            part.training = training


def _plain(module: nn.Module, side: int) -> nn.Module:
    """Without what `DataParallel` and `torch.compile` put around it.

    Raises WeightsError for what is no module, and for a side that no picture has.
    """
    if not isinstance(module, nn.Module):
        raise WeightsError(
            f"a {type(module).__name__} is no torch.nn.Module; give the module with its weights"
        )
    if type(side) is not int or not 1 <= side <= MOST_SIDE:
        raise WeightsError(f"side is {side!r}; a whole number from 1 to {MOST_SIDE} is expected")
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _plain(module.module, side)
    return getattr(module, "_orig_mod", module)


def _graph_of(module: nn.Module, side: int) -> tuple[Graph, dict[str, Tensor]]:
    x = _pictures(module, side)
    try:
        program = _exported(module, x)
    except Exception as error:  # export raises almost anything
        raise WeightsError(
            f"torch.export can't read this module for (N, 3, {side}, {side}): {_reason(error)}"
        ) from error
    try:
        return _compared(program, module, x, plain=False)
    except WeightsError:  # writes into its own values, as Swin's mask: export can make that plain
        return _compared(program.run_decompositions({}), module, x, plain=True)


def _pictures(module: nn.Module, side: int) -> Tensor:
    first = next(module.parameters(), torch.zeros(()))
    return torch.zeros(2, 3, side, side, dtype=first.dtype, device=first.device)


def _exported(module: nn.Module, x: Tensor) -> Any:
    batch = torch.export.Dim("n", min=1, max=4096)
    return torch.export.export(module, (x,), dynamic_shapes=({0: batch},))


def _compared(
    program: Any, module: nn.Module, x: Tensor, *, plain: bool
) -> tuple[Graph, dict[str, Tensor]]:
    graph, tensors = _translated(program)
    graph = dtypes.with_own(graph, x.dtype, lambda: _twin(module, x, plain=plain))
    _compare(graph, tensors, module, x)
    return graph, tensors


def _twin(module: nn.Module, x: Tensor, *, plain: bool) -> Graph | None:
    """The module's graph in another dtype; None where it can't be copied, or read in that one."""
    dtype = torch.float32 if x.dtype == torch.float64 else torch.float64
    try:
        program = _exported(copy.deepcopy(module).to(dtype), x.to(dtype))
        return _translated(program.run_decompositions({}) if plain else program)[0]
    except Exception:  # as above
        return None


def _reason(error: Exception) -> str:
    """In one line, torch.export's own but where that names a logger."""
    if "specialized it to be a constant" in str(error):
        return (
            "it works for one number of pictures alone; x.shape[0] in its code leaves that free, "
            "len(x) does not"
        )
    return str(error).strip().splitlines()[0][:300]


def _translated(program: Any) -> tuple[Graph, dict[str, Tensor]]:
    signature, state = program.graph_signature, {**program.state_dict, **program.constants}
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers,
             **signature.inputs_to_lifted_tensor_constants}  # fmt: skip
    pictures, outputs = signature.user_inputs, signature.user_outputs
    if len(pictures) != 1 or len(outputs) != 1:
        raise WeightsError(
            f"a classifier has one input and one output; this one has {len(pictures)} and "
            f"{len(outputs)}"
        )
    same: dict[str, Any] = {}  # what a node that is gone stands for
    tensors: dict[str, Tensor] = {}

    def argument(given: Any) -> Any:
        match given:
            case torch.fx.Node():
                if given.name in names:
                    tensors[names[given.name]] = state[names[given.name]].detach()
                    return {"parameter": names[given.name]}
                return same.get(given.name, {"value": given.name})
            case list() | tuple():
                return [argument(part) for part in given]
            case torch.dtype():
                return dtypes.argument(given)
            case torch.device():
                return {"device": True}
            case torch.memory_format() | torch.layout():
                return None  # as the input's
        return given

    operations = []
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        kind = NUMBERS.get(node.target) or node.target.__name__
        family, _, overload = kind.partition(".")
        if kind == "sym_size.int" and node.args[1] == 0:
            same[node.name] = {"batch": True}
        elif family in GONE:
            same[node.name] = argument(node.args[0])
        elif family not in CHECKS:
            kind = f"{family.removesuffix('_')}.{overload}" if overload else kind
            arguments = node.args
            if (
                kind == "copy.default"
            ):  # has no derivative; what is copied has the shape of the first
                kind, arguments = "expand_as.default", (node.args[1], node.args[0])
            function(kind)
            options = {key: argument(value) for key, value in node.kwargs.items()}
            options = {key: value for key, value in options.items() if value is not None}
            operations.append(Operation(node.name, kind, tuple(map(argument, arguments)), options))
    output = same.get(outputs[0], {"value": outputs[0]})["value"]
    return Graph(pictures[0], tuple(operations), output), tensors


@torch.inference_mode()
def _compare(graph: Graph, tensors: dict[str, Tensor], module: nn.Module, x: Tensor) -> None:
    """Raises WeightsError where the graph's logits are not the module's, or are no logits."""
    graph.check(tensors)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    expected, values = module(noise), {graph.picture: noise}
    for operation in graph.operations:
        values[operation.name] = operation(values, tensors, len(x))
    logits = values[graph.output]
    if logits.dim() != 2 or len(logits) != len(x):
        raise WeightsError(
            f"a classifier's output is (N, classes); this one's is {list(logits.shape)}"
        )
    if not logits.isfinite().all():
        raise WeightsError("the module's logits are not finite; its weights may hold NaN")
    apart = float((logits - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if apart > (TOLERANCE if x.dtype == torch.float64 else 1e-5):
        raise WeightsError(f"the graph's logits differ from the module's by {apart:.2g}")
