"""`weakpoints detect`."""

import json
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
    from app.errors import WeakpointsError
    from app.loading import loaded
    from app.method.image import decode
    from app.method.render import heatmap_png
    from app.schemas import detection

    settings, options, failed = network.settings(), given.options(), 0
    detector = loaded(settings)
    for path in images:
        try:
            image = decode(path.read_bytes(), settings.limits)
            found = detector.locate(image, options)
        except (WeakpointsError, OSError) as error:
            failed = say(f"{path}: {error}")
            continue
        answer = detection(found, detector.model, path.name, dict(found.timing_ms))
        if overlay:
            overlay.mkdir(parents=True, exist_ok=True)
            png, _ = heatmap_png(
                image, found, which="fused", style="overlay", keypoints=True, size="image"
            )
            (overlay / f"{path.stem}.png").write_bytes(png)
        line = json.dumps({"file": str(path), **answer.model_dump()})
        print(line if as_json else _text(path, answer))
    return failed


def _text(path: Path, answer: "Detection") -> str:
    """Class, probability and keypoints for people."""
    named, points = answer.prediction, answer.keypoints
    lines = [f"{path}: {named.label} ({named.probability:.2f}), {len(points)} keypoints"]
    for point in points:
        lines.append(
            f"  {point.x:9.2f} {point.y:9.2f}  confidence {point.confidence:.3f}"
            + ("" if point.refined else "  (not refined)")
        )
    return "\n".join(lines)
