"""`weakpoints detect`."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from app.cli.parameters import Json, Network, OptionFlags
from app.cli.terminal import say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.schemas.answers import Detection
    from weakpoints.method.localization import Localization


def detect(
    images: Annotated[
        list[Path], Parameter(help="photographs: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC")
    ],
    /,
    *,
    overlay: Annotated[
        Path | None,
        Parameter(
            help="write each photograph with its keypoints as a PNG here, one for each class"
        ),
    ] = None,
    arrays: Annotated[
        Path | None, Parameter(help="write the maps of each photograph as an .npz here")
    ] = None,
    as_json: Json = False,
    network: Network = Network(),
    given: OptionFlags = OptionFlags(),
) -> int:
    """keypoints of photographs"""
    from app.batch.collection import printable
    from app.decoding.pool import Decoders
    from app.loading import loaded
    from app.schemas.answers import detection
    from weakpoints.errors import WeakpointsError
    from weakpoints.method.arrays import npz

    settings, options, failed = network.settings(), given.options(), 0
    decoders = Decoders(1, settings.limits)
    decoders.start()
    detector = loaded(settings)
    drawings = output_paths(images, overlay, ".png")
    files = output_paths(images, arrays, ".npz")
    for path, drawing, file in zip(images, drawings, files, strict=True):
        name = printable(str(path))
        try:
            image = decoders.decode(path.read_bytes(), background=options.background)
            found = detector.locate(image, options)
        except (WeakpointsError, OSError, ValueError) as error:
            failed = say(f"{name}: {error}")
            continue
        answer = detection(found, detector.model, printable(path.name), dict(found.timing_ms))
        if drawing:
            write_overlays(image, found, drawing)
        if file:
            file.write_bytes(npz(found, answer.model_dump_json()))
        line = json.dumps({"file": name, **answer.model_dump()})
        print(line if as_json else text(name, answer, detector.model.labels))
    decoders.close()
    return failed


def output_paths(
    photographs: Sequence[Path], folder: Path | None, suffix: str
) -> Iterator[Path | None]:
    """One each, in a folder that is made: its name with the suffix.

    Where that is another's, its old suffix or a number comes before the new one. No photograph is
    written over, and no two paths differ in the case of letters alone. None without a folder.
    """
    if folder is None:
        yield from (None for _ in photographs)
        return
    folder.mkdir(parents=True, exist_ok=True)
    taken = {photograph.resolve() for photograph in photographs}
    used = set[str]()
    for each in photographs:
        names = (f"{each.stem}{suffix}", f"{each.name}{suffix}")
        more = (f"{each.name}.{number}{suffix}" for number in count(2))
        for name in chain(names, more):
            path = folder / name
            if name.casefold() not in used and path.resolve() not in taken:
                break
        used.add(name.casefold())
        yield path


def write_overlays(image: "NDArray[np.uint8]", found: "Localization", path: Path) -> None:
    """One picture a class: `path`, or with the index of the class before its suffix."""
    from weakpoints.method.render import heatmap_png

    for each in found.explained:
        png, _ = heatmap_png(
            image,
            found,
            which="fused",
            style="overlay",
            keypoints=True,
            size="image",
            target=each.target,
        )
        alone = len(found.explained) == 1
        drawing = path if alone else path.with_suffix(f".{each.target}{path.suffix}")
        drawing.write_bytes(png)


def text(name: str, answer: "Detection", labels: Sequence[str]) -> str:
    """Class, probability and keypoints for people; several classes with a heading each."""
    named, points = answer.prediction, answer.keypoints
    lines = [f"{name}: {named.label} ({named.probability:.2f}), {len(points)} keypoints"]
    for target, group in groupby(points, lambda point: point.target):
        if isinstance(answer.options["target_class"], tuple):
            lines.append(f"  {labels[target]}:")
        for point in group:
            lines.append(
                f"  {point.x:9.2f} {point.y:9.2f}  confidence {point.confidence:.3f}"
                + ("" if point.refined else "  (not refined)")
            )
    return "\n".join(lines)
