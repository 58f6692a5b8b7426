"""The formats by name: what each writes, and what it can hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from app.batch.collection import Collection
from app.batch.formats.cvat import write_cvat
from app.batch.formats.files import stem_below
from app.batch.formats.labelled import LabelledCollection
from app.batch.formats.labelme import write_labelme
from app.batch.formats.labelstudio import write_labelstudio
from app.batch.formats.yolo_pose import write_yolo_pose
from weakpoints.errors import BadOption

LabelFormat = Literal["coco", "yolo-pose", "labelstudio", "labelme", "cvat"]
LABEL_FORMATS: tuple[LabelFormat, ...] = get_args(LabelFormat)
DEFAULT_FORMAT: tuple[LabelFormat, ...] = ("coco",)


@dataclass(frozen=True)
class Written:
    """outputs: what lies in the batch's folder afterwards.

    named_only: whether it has no place for points without names. one_each: whether it is one file
    for each photograph, called like it, without its suffix.
    """

    write: Callable[[Path, LabelledCollection], None]
    outputs: tuple[str, ...]
    named_only: bool = False
    one_each: bool = False


WRITTEN: dict[LabelFormat, Written] = {  # COCO is written from the rows themselves, by `tables.py`
    "yolo-pose": Written(write_yolo_pose, ("yolo-pose",), named_only=True, one_each=True),
    "labelstudio": Written(write_labelstudio, ("labelstudio.json", "labelstudio.xml")),
    "labelme": Written(write_labelme, ("labelme",), one_each=True),
    "cvat": Written(write_cvat, ("cvat.xml",)),
}


def formats_of(text: str) -> tuple[LabelFormat, ...]:
    """Names with commas between them. Raises BadOption for one that is unknown."""
    given = [name.strip() for name in text.split(",")]
    if unknown := [name for name in given if name not in LABEL_FORMATS]:
        raise BadOption(
            f"--format has {unknown[0]!r}; there are {', '.join(LABEL_FORMATS)}",
            option="format",
            actual=unknown[0],
        )
    return tuple(name for name in LABEL_FORMATS if name in given)


def check_formats(formats: Sequence[LabelFormat], collection: Collection, named: bool) -> None:
    """Raises BadOption, before anything is computed, for what a format can't hold."""
    for name in formats:
        if name not in WRITTEN:
            continue
        if WRITTEN[name].named_only and not named:
            raise BadOption(
                f"{name} holds points with names alone, the same on each photograph; give "
                "--landmarks or --consistent, or another --format",
                option="format",
                actual=name,
            )
        if WRITTEN[name].one_each:
            _check_stems(name, collection.names)


def outputs_of(formats: Sequence[LabelFormat]) -> list[str]:
    return [output for name in formats if name in WRITTEN for output in WRITTEN[name].outputs]


def write_formats(out: Path, formats: Sequence[LabelFormat], labelled: LabelledCollection) -> None:
    """All but COCO, which is written from the rows."""
    for name in formats:
        if name in WRITTEN:
            WRITTEN[name].write(out, labelled)


def _check_stems(name: LabelFormat, names: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for photograph in names:
        other = known.setdefault(str(stem_below(photograph)), photograph)
        if other != photograph:
            raise BadOption(
                f"{name} has one file for each photograph, called like it without its suffix: "
                f"{other!r} and {photograph!r} would have the same",
                option="format",
                actual=photograph,
            )
