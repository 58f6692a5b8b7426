"""`weakpoints detect`."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from app.cli.parameters import Json, Network, OptionFlags
from app.cli.terminal import say

if TYPE_CHECKING:
    from app.schemas import Detection


def detect(
    images: Annotated[list[Path], Parameter(help="photographs: JPEG, PNG or WebP")],
    /,
    *,
    overlay: Annotated[
        Path | None, Parameter(help="write each photograph with its keypoints as a PNG here")
    ] = None,
    as_json: Json = False,
    network: Network = Network(),
    given: OptionFlags = OptionFlags(),
) -> int:
    """keypoints of photographs"""
    from app.batch.collection import printable
    from app.decoding.pool import Decoders
    from app.errors import WeakpointsError
    from app.loading import loaded
    from app.method.render import heatmap_png
    from app.schemas import detection

    settings, options, failed = network.settings(), given.options(), 0
    decoders = Decoders(1, settings.limits)
    decoders.start()
    detector = loaded(settings)
    if overlay:
        overlay.mkdir(parents=True, exist_ok=True)
    for path, drawing in zip(images, overlay_paths(images, overlay or Path()), strict=True):
        name = printable(str(path))
        try:
            image = decoders.decode(path.read_bytes())
            found = detector.locate(image, options)
        except (WeakpointsError, OSError, ValueError) as error:
            failed = say(f"{name}: {error}")
            continue
        answer = detection(found, detector.model, printable(path.name), dict(found.timing_ms))
        if overlay:
            png, _ = heatmap_png(
                image, found, which="fused", style="overlay", keypoints=True, size="image"
            )
            drawing.write_bytes(png)
        line = json.dumps({"file": name, **answer.model_dump()})
        print(line if as_json else _text(name, answer))
    decoders.close()
    return failed


def overlay_paths(photographs: Sequence[Path], folder: Path) -> Iterator[Path]:
    """One each: its name as a PNG, or with its old suffix or a number where that is another's.

    No photograph is written over, and no two paths differ in the case of letters alone.
    """
    taken = {photograph.resolve() for photograph in photographs}
    used = set[str]()
    for each in photographs:
        names = (f"{each.stem}.png", f"{each.name}.png")
        more = (f"{each.name}.{number}.png" for number in count(2))
        for name in chain(names, more):
            path = folder / name
            if name.casefold() not in used and path.resolve() not in taken:
                break
        used.add(name.casefold())
        yield path


def _text(name: str, answer: "Detection") -> str:
    """Class, probability and keypoints for people."""
    named, points = answer.prediction, answer.keypoints
    lines = [f"{name}: {named.label} ({named.probability:.2f}), {len(points)} keypoints"]
    for point in points:
        lines.append(
            f"  {point.x:9.2f} {point.y:9.2f}  confidence {point.confidence:.3f}"
            + ("" if point.refined else "  (not refined)")
        )
    return "\n".join(lines)
