"""From a graph and its tensors to a network: checked, simplified, read as layers."""

from collections.abc import Mapping

from torch import Tensor

from weakpoints.errors import WeightsError
from weakpoints.networks.graph.folding import folded, without_constants
from weakpoints.networks.graph.graph import Graph
from weakpoints.networks.graph.shapes import BATCH, shapes_of
from weakpoints.networks.graph.tables import layers_of
from weakpoints.networks.network import Network


def network_of_graph(
    graph: Graph, tensors: Mapping[str, Tensor], side: int, classes: int | None = None
) -> Network:
    """classes: how many it has to answer; None: any number.

    Raises WeightsError where graph, tensors and classes do not fit, before anything is computed.
    """
    graph.check(tensors)
    shapes = shapes_of(graph, tensors, side)
    logits = shapes[graph.output]
    if classes is not None and logits != (BATCH, classes):
        raise WeightsError(
            f"the network answers {list(logits or ())[1:]} logits, and there are {classes} labels"
        )
    graph, tensors = folded(*without_constants(graph, dict(tensors)))
    return Network(tuple(layers_of(graph, tensors, shapes)))
