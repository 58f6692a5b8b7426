"""`weakpoints landmarks`: named points, learnt from annotated photographs and found on others."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from app.cli.outputs import SetFile
from app.cli.parameters import Count, Folder, Json, NetworkFlags, OptionFlags, command_group
from app.cli.terminal import say, show

if TYPE_CHECKING:
    from app.schemas.landmarks import NamedPointsFound

landmarks = command_group("landmarks", "named points: mark them on a few photographs, find them")


@landmarks.command
def learn(
    *,
    annotations: Annotated[
        Path,
        Parameter(help="COCO keypoints, or what Label Studio, CVAT, labelme or YOLO-pose export"),
    ],
    images: Annotated[Folder, Parameter(help="what its file names are relative to")],
    out: Annotated[SetFile, Parameter(help="the landmark set to write, such as car.landmarks")],
    most: Annotated[Count, Parameter(help="references that are kept, those that help")] = 10,
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
) -> int:
    """a landmark set from annotated photographs"""
    from app.loading import loaded
    from weakpoints.api import learnt_from
    from weakpoints.landmarks.describer import Describer
    from weakpoints.landmarks.landmark_set import summary

    settings = network.settings()
    describer = Describer(loaded(settings))
    learnt = learnt_from(describer, annotations, images, settings.limits, most)
    learnt.save(out)
    card = summary(out.stem, learnt)
    show(as_json, card, f"{out}: {_described(card)}")
    return 0


@landmarks.command(name="list")
def list_sets(
    folder: Annotated[Folder, Parameter(help="folder of landmark sets")],
    /,
    *,
    as_json: Json = False,
) -> int:
    """the landmark sets of a folder"""
    from weakpoints.errors import BadLandmarkSet
    from weakpoints.landmarks.landmark_set import SUFFIX, LandmarkSet, summary

    failed, cards = 0, []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            cards.append(summary(path.stem, LandmarkSet.load(path)))
        except BadLandmarkSet as error:
            failed = say(str(error))
    show(as_json, cards, "\n".join(f"{card['name']}: {_described(card)}" for card in cards))
    return failed


@landmarks.command
def find(
    images: Annotated[list[Path], Parameter(help="photographs")],
    /,
    *,
    landmarks: Annotated[Path, Parameter(help="the landmark set")],
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
    given: OptionFlags = OptionFlags(),
) -> int:
    """the named points on photographs"""
    from app.batch.collection import printable
    from app.decoding.pool import Decoders
    from app.loading import loaded
    from app.schemas.landmarks import named_answer
    from weakpoints.errors import WeakpointsError
    from weakpoints.images.decode import read_file
    from weakpoints.landmarks.describer import Describer
    from weakpoints.landmarks.landmark_set import LandmarkSet
    from weakpoints.landmarks.named import NamedPoints

    settings, options, failed = network.settings(), given.options(), 0
    learnt = LandmarkSet.load(landmarks)
    detector = loaded(settings)
    named = NamedPoints(Describer(detector), learnt.pattern)
    with Decoders(1, settings.limits) as decoders:
        for path in images:
            name = printable(str(path))
            try:
                data = read_file(path, settings.limits)
                image = decoders.decode(data, background=options.background)
                points = named.find(image, options)
            except (WeakpointsError, OSError, ValueError) as error:
                failed = say(f"{name}: {error}")
                continue
            answer = named_answer([points], detector.model, printable(path.name))
            print(
                json.dumps({"file": name, **answer.model_dump()})
                if as_json
                else _text(name, answer)
            )
    return failed


def _text(name: str, answer: "NamedPointsFound") -> str:
    seen = sum(point.visible for point in answer.landmarks)
    lines = [f"{name}: {seen} of {len(answer.landmarks)} landmarks visible"]
    for point in answer.landmarks:
        doubt = "" if point.visible else "  (not visible)"
        lines.append(
            f"  {point.name:20} {point.x:9.2f} {point.y:9.2f}  "
            f"confidence {point.confidence:.3f}{doubt}"
        )
    return "\n".join(lines)


def _described(card: dict[str, Any]) -> str:
    shares = [landmark["expected"] for landmark in card["landmarks"]]
    known = [share for share in shares if share is not None]
    text = (
        f"{len(shares)} landmarks of {card['category']!r} on {card['references']} references, "
        f"network {card['network'][:12]}"
    )
    if known:
        text += f"; {sum(known) / len(known):.2f} of them are expected to be found"
        for landmark in card["landmarks"]:
            share = "unknown" if landmark["expected"] is None else f"{landmark['expected']:.2f}"
            text += f"\n  {landmark['name']:20} {share}"
    return text
