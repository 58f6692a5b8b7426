"""`weakpoints detect`."""

import json
import os
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from app.cli.parameters import Json, NetworkFlags, OptionFlags
from app.cli.terminal import say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.schemas.answers import Detection
    from weakpoints.method.localization import Localization, Model

MOST_BYTES = 255  # of a file's name, on every file system that people have
ROOM = 24  # of them, for a number or the index of a class


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
    network: NetworkFlags = NetworkFlags(),
    given: OptionFlags = OptionFlags(),
) -> int:
    """keypoints of photographs"""
    from app.batch.collection import printable
    from app.decoding.pool import Decoders
    from weakpoints.errors import WeakpointsError
    from weakpoints.images.decode import read_file

    settings, options, failed = network.settings(), given.options(), 0
    decoders = Decoders(1, settings.limits)
    detector = None
    drawings = output_paths(images, overlay, ".png")
    files = output_paths(images, arrays, ".npz")
    for path, drawing, file in zip(images, drawings, files, strict=True):
        name = printable(str(path))
        try:
            data = read_file(path, settings.limits)
        except (WeakpointsError, OSError) as error:
            failed = say(f"{name}: {error}")
            continue
        if detector is None:  # PyTorch is imported once there is something to look at
            from app.loading import loaded

            decoders.start()  # the child starts while the network loads
            detector = loaded(settings, len(images))
        try:
            image = decoders.decode(data, background=options.background)
            localization = detector.locate(image, options)
            answer = answer_of(localization, detector.model, printable(path.name))
            if drawing:
                write_overlays(image, localization, drawing)
            if file:
                write_arrays(localization, answer, file)
        except (WeakpointsError, OSError, ValueError) as error:
            failed = say(f"{name}: {error}")
            continue
        line = json.dumps({"file": name, **answer.model_dump()})
        print(line if as_json else text(name, answer, detector.model.labels))
    decoders.close()
    return failed


def output_paths(
    photographs: Sequence[Path], folder: Path | None, suffix: str
) -> Iterator[Path | None]:
    """One each, in a folder that is made: its name with the suffix.

    Where that is another's, its old suffix or a number comes before the new one. No file that is
    there is written over, and no two paths differ in the case of letters alone. None without a
    folder.
    """
    if folder is None:
        yield from (None for _ in photographs)
        return
    folder.mkdir(parents=True, exist_ok=True)
    # A photograph in the output folder has a name that is taken.
    there = [path for path in photographs if path.resolve().parent == folder.resolve()]
    used = {path.name.casefold() for path in (*there, *folder.iterdir())}
    for photograph in photographs:
        yield (path := free_path(folder, photograph, suffix, used))
        used.add(path.name.casefold())


def free_path(folder: Path, photograph: Path, suffix: str, used: Collection[str]) -> Path:
    """A name that is not used, also with the index of a class before its suffix."""
    most = MOST_BYTES - len(suffix) - ROOM
    stem, name = (_shortened(text, most) for text in (photograph.stem, photograph.name))
    more = (f"{name}.{number}{suffix}" for number in count(2))
    for candidate in chain((f"{stem}{suffix}", f"{name}{suffix}"), more):
        start = candidate.removesuffix(suffix).casefold() + "."
        if candidate.casefold() not in used and not any(_is_of_a_class(n, start) for n in used):
            return folder / candidate
    raise AssertionError("numbers do not end")


def _is_of_a_class(name: str, start: str) -> bool:
    """Whether an overlay of one of several classes, `photo.281.png`, would have this name."""
    return name.startswith(start) and name.removeprefix(start).split(".")[0].isdecimal()


def _shortened(text: str, most: int) -> str:
    """At most so many bytes as UTF-8, in whole letters: file systems take 255 for a name."""
    return os.fsencode(text)[:most].decode("utf-8", "ignore") if len(text) * 4 > most else text


def answer_of(localization: "Localization", model: "Model", name: str) -> "Detection":
    """What `/detect` says of it; its id is the photograph's name."""
    from app.schemas.answers import detection

    return detection(localization, model, name, dict(localization.timing_ms))


def write_arrays(localization: "Localization", answer: "Detection", path: Path) -> None:
    """Every map as numbers, with the answer beside them, for `numpy.load`."""
    from weakpoints.method.arrays import npz

    path.write_bytes(npz(localization, answer.model_dump_json()))


def write_overlays(image: "NDArray[np.uint8]", localization: "Localization", path: Path) -> None:
    """One picture a class: `path`, or with the index of the class before its suffix."""
    from weakpoints.method.render import heatmap_png

    for explained in localization.explained:
        png, _ = heatmap_png(
            image,
            localization,
            which="fused",
            style="overlay",
            keypoints=True,
            size="image",
            target=explained.target,
        )
        alone = len(localization.explained) == 1
        drawing = path if alone else path.with_name(f"{path.stem}.{explained.target}{path.suffix}")
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
