"""`weakpoints doctor`."""

from app.cli.parameters import Json, Network
from app.cli.terminal import show


def doctor(*, as_json: Json = False, network: Network = Network()) -> int:
    """what the service has here: network, device, driver, versions, fast paths"""
    from app.loading import loaded
    from weakpoints.doctor import examine

    found = examine(loaded(network.settings()))
    lines = [f"{name:20} {value}" for name, value in found.items()]
    show(as_json, found, "\n".join(lines))
    return 0
