"""`weakpoints weights`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from app.cli.parameters import Json, settings_of_arguments
from app.cli.terminal import say, show

Names = Annotated[
    tuple[str, ...],
    Parameter(help="networks of the manifest; verify checks all that are there if none is named"),
]


def weights(
    action: Literal["list", "pull", "verify"],
    names: Names = (),
    /,
    *,
    as_json: Json = False,
    manifest: Annotated[
        Path | None, Parameter(help="the manifest of networks [default: WEAKPOINTS_MANIFEST]")
    ] = None,
) -> int:
    """list, fetch or check networks"""
    from weakpoints.errors import WeakpointsError
    from weakpoints.networks.download import pull, verify
    from weakpoints.networks.manifest import read_manifest

    settings = settings_of_arguments(manifest=manifest)
    entries = read_manifest(settings.manifest, settings.downloads)
    unknown = [name for name in names if name not in entries]
    if unknown or (action == "pull" and not names):
        known = ", ".join(entries)
        return say(f"no such network: {', '.join(unknown) or 'name one'}; there are {known}", 2)
    chosen = [entries[name] for name in names] or [
        entry for entry in entries.values() if action == "list" or entry.path.exists()
    ]
    rows: list[dict[str, Any]] = []
    failed = 0
    for entry in chosen:
        try:
            if action == "pull":
                pull(entry)
            elif action == "verify":
                verify(entry)
            state = "here" if entry.path.exists() else "not pulled"
        except WeakpointsError as error:
            state, failed = "failed", say(str(error))
        rows.append(
            {
                "name": entry.name,
                "architecture": entry.architecture,
                "side": entry.side,
                "labels": len(entry.labels),
                "state": state,
            }
        )
    line = "{name:18} {architecture:18} {side:4} px {labels:5} classes  {state}"
    show(as_json, rows, "\n".join(line.format(**entry) for entry in rows))
    return failed
