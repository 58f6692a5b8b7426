import torch

from weakpoints.networks.network import Network


def test_the_trace_ends_with_the_logits_and_holds_every_layer(
    network: Network, x: torch.Tensor
) -> None:
    trace = network.trace(x)
    assert len(trace.activations) == len(network.layers)
    torch.testing.assert_close(trace.logits, network.logits(x))
    assert trace.predicted == int(network.logits(x).argmax())
