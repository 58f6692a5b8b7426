"""A network's labels, as this and other tools write them."""

import json
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from weakpoints.errors import WeightsError

SHAPES = (
    'a JSON list of texts, ["ant", "bee"], an object from index to text, {"0": "ant", "1": "bee"}, '
    'or to a pair with the text last, {"0": ["n01", "ant"]}, or a .txt file with one a line'
)


def read_labels(file: Path) -> tuple[str, ...]:
    """The labels in the order of the network's outputs. Raises ValueError, and OSError."""
    text = file.read_text("utf-8-sig")  # some editors put a mark in front
    if file.suffix == ".txt":
        return _texts(text.splitlines(), file)
    try:
        return _texts(_in_order(json.loads(text)), file)
    except json.JSONDecodeError as error:
        raise ValueError(f"the labels in {file.name} are no JSON: {error}") from error


def given_labels(labels: Any) -> tuple[str, ...]:
    """Of Python's values: a sequence of texts, or a dictionary from index to text.

    Raises WeightsError: an index for a label, or letters for labels, would stand in every answer.
    """
    if isinstance(labels, Mapping):
        given = _in_order({str(index): label for index, label in labels.items()})
    elif isinstance(labels, str | bytes | Set) or not isinstance(labels, Iterable):
        raise WeightsError(
            f"labels is {type(labels).__name__}; a list of texts is expected, in the order of "
            "the outputs"
        )
    else:
        given = list(labels)
    for index, label in enumerate(given):
        if not isinstance(label, str) or not label.strip():
            raise WeightsError(
                f"label {index} is {label!r}; labels are a list of texts, or a dictionary from "
                "index to text"
            )
    return tuple(str(label) for label in given)


def _in_order(given: Any) -> Any:
    """A list stays; of an object from index to label, its labels by their indices."""
    if not isinstance(given, dict):
        return given
    names: list[Any] = [given.get(str(index)) for index in range(len(given))]
    if all(isinstance(name, list) and len(name) == 2 for name in names):
        return [name for _, name in names]  # Keras: WordNet's identifier, then the label
    return names


def _texts(given: Any, file: Path) -> tuple[str, ...]:
    if not isinstance(given, list) or not given:
        raise ValueError(f"the labels in {file.name} are not {SHAPES}")
    for index, label in enumerate(given):
        if not isinstance(label, str) or not label.strip():
            raise ValueError(f"label {index} in {file.name} is {label!r}; labels are {SHAPES}")
    return tuple(given)
