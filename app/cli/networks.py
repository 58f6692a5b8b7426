"""`weakpoints networks`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from app.cli.terminal import say


def networks(
    action: Literal["add"],
    source: Annotated[str, Parameter(help="torchvision:NAME or timm:NAME")],
    /,
    *,
    to: Annotated[Path, Parameter(help="the folder; its manifest.json gets an entry more")],
    name: Annotated[str | None, Parameter(help="the network's name [default: NAME]")] = None,
    weights: Annotated[
        Path | None,
        Parameter(help="a state dictionary, .safetensors or .pth [default: the library's own]"),
    ] = None,
    labels: Annotated[
        Path | None, Parameter(help="its labels in order, as JSON or one a line")
    ] = None,
) -> int:
    """add a network of torchvision or timm to a manifest, as a graph"""
    from weakpoints.errors import WeakpointsError
    from weakpoints.networks.graph.files import export
    from weakpoints.networks.graph.sources import source as source_of
    from weakpoints.networks.labels import read_labels

    try:
        texts = None if labels is None else read_labels(labels)
        made = source_of(source, weights, None if texts is None else len(texts))
        texts = texts or made.labels
        if texts is None:
            return say(f"--labels is needed: {source} does not bring its labels", 2)
        manifest = export(
            made.module,
            name=name or source.partition(":")[2],
            labels=texts,
            side=made.side,
            mean=made.mean,
            std=made.std,
            to=to,
        )
    except (WeakpointsError, ValueError, OSError) as error:
        return say(str(error))
    print(f"{name or source} is in {manifest}; try weakpoints detect --manifest {manifest}")
    return 0
