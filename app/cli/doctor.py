"""`weakpoints doctor`."""

from app.cli.parameters import Json, NetworkFlags
from app.cli.terminal import show


def doctor(*, as_json: Json = False, network: NetworkFlags = NetworkFlags()) -> int:
    """what the service has here: network, device, driver, versions, fast paths"""
    from app.loading import loaded
    from weakpoints.doctor import examine

    figures = examine(loaded(network.settings()))
    lines = [f"{name:20} {value}" for name, value in figures.items()]
    show(as_json, figures, "\n".join(lines))
    return 0
