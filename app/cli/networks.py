"""`weakpoints networks`."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from app.cli.parameters import Json, NetworkFlags, command_group, settings_of_arguments
from app.cli.terminal import say, show

networks = command_group("networks", "networks of the manifest, and others that are added to one")
Manifest = Annotated[
    Path | None, Parameter(help="the manifest of networks [default: WEAKPOINTS_MANIFEST]")
]


@networks.command
def add(
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
    side: Annotated[
        int | None, Parameter(help="of its input, in pixels [default: as the library has it]")
    ] = None,
) -> int:
    """add a network of torchvision or timm to a manifest, as a graph"""
    from weakpoints.errors import WeakpointsError
    from weakpoints.networks.graph.adding import export
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
            side=side or made.side,
            mean=made.mean,
            std=made.std,
            to=to,
        )
    except (WeakpointsError, ValueError, OSError) as error:
        return say(str(error))
    print(f"{name or source} is in {manifest}; try weakpoints detect --manifest {manifest}")
    return 0


@networks.command(name="list")
def list_networks(*, as_json: Json = False, manifest: Manifest = None) -> int:
    """what a manifest has: name, architecture, side, classes, and whether its weights are here"""
    from weakpoints.networks.manifest import read_manifest

    settings = settings_of_arguments(manifest=manifest)
    rows = [
        {
            "name": entry.name,
            "architecture": entry.architecture,
            "side": entry.side,
            "labels": len(entry.labels),
            "here": entry.path.exists(),
        }
        for entry in read_manifest(settings.manifest, settings.downloads).values()
    ]
    line = "{name:18} {architecture:18} {side:4} px {labels:5} classes  {state}"
    state = {True: "here", False: "not pulled"}
    shown = (line.format(**row, state=state[bool(row["here"])]) for row in rows)
    show(as_json, rows, "\n".join(shown))
    return 0


@networks.command(name="show")
def show_network(
    name: Annotated[str, Parameter(help="a network of the manifest")],
    /,
    *,
    as_json: Json = False,
    manifest: Manifest = None,
) -> int:
    """operations, parameters, products, what windows save, which form was chosen and why"""
    from app.loading import loaded
    from weakpoints.doctor import describe

    figures = describe(loaded(NetworkFlags(name, manifest).settings()))
    lines = [f"{key:20} {_words(value)}" for key, value in figures.items()]
    show(as_json, figures, "\n".join(lines))
    return 0


def _words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return json.dumps(value) if isinstance(value, dict | list) else f"{value}"
