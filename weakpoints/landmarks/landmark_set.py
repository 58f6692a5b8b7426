"""A landmark set as a file: safetensors, what it is in a JSON header. Nothing is unpickled.

It is bound to a network by the digest of its weights, and to itself by a digest of all it holds.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from weakpoints.errors import BadLandmarkSet
from weakpoints.landmarks.coco_parts import MOST_LANDMARKS
from weakpoints.landmarks.consensus import Shape
from weakpoints.landmarks.descriptors import GRID
from weakpoints.landmarks.matching import Reference
from weakpoints.landmarks.named import Pattern

FORMAT = "weakpoints landmarks 3"  # the digest is of the header, too; 2 had it of the maps alone
MOST_REFERENCES = 64
SUFFIX = ".landmarks"


@dataclass(frozen=True)
class LandmarkSet:
    """A pattern and how it was learnt.

    sources: the references' file names. expected: of each landmark, the share of the photographs
    it was learnt from on which the others find it within a tenth; None where that is not known.
    """

    pattern: Pattern
    sources: tuple[str, ...] = ()
    expected: tuple[float | None, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return self.pattern.names

    def save(self, path: Path) -> None:
        """Writes the file whole, or not at all. Raises OSError."""
        # Two that write the same set at once each have a file of their own; the last one stays.
        partial = path.with_name(f".{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(self.to_bytes())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def to_bytes(self) -> bytes:
        """The file's bytes, the same each time."""
        tensors = _tensors(self.pattern.references)
        header = {
            "format": FORMAT,
            "network": self.pattern.network,
            "category": self.pattern.category,
            "names": self.pattern.names,
            "skeleton": self.pattern.skeleton,
            "sources": self.sources,
            "expected": self.expected,
        }
        header["digest"] = _digest(header, tensors)
        return save(tensors, {"weakpoints": json.dumps(header, sort_keys=True)})

    @classmethod
    def load(cls, path: Path) -> "LandmarkSet":
        """Raises BadLandmarkSet, and OSError where the file can't be read."""
        return cls.of_bytes(path.read_bytes(), str(path.name))

    @classmethod
    def of_bytes(cls, data: bytes, name: str) -> "LandmarkSet":
        """Raises BadLandmarkSet for what is cut short, tampered with, or no landmark set."""
        try:
            tensors = load(data)
            size = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + size])["__metadata__"]
            header = dict(json.loads(metadata["weakpoints"]))
        except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise BadLandmarkSet(
                f"{name} is no landmark set, or was cut short: {len(data)} bytes; {error}"
            ) from error
        return _checked(header, tensors, name)


def _tensors(references: Sequence[Reference]) -> dict[str, torch.Tensor]:
    tensors = {}
    for number, reference in enumerate(references):
        tensors[f"{number}.places"] = torch.from_numpy(reference.shape.places).contiguous()
        tensors[f"{number}.marked"] = torch.from_numpy(reference.shape.marked).contiguous()
        for layer, values in enumerate(reference.descriptors):
            tensors[f"{number}.layer.{layer}"] = values.half().contiguous()
    return tensors


def _digest(header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """Of the header without its digest, and of the tensors."""
    text = json.dumps({key: header[key] for key in header if key != "digest"}, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        values = tensors[name].numpy()
        digest.update(f"{name} {values.shape} {values.dtype}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _checked(
    header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], name: str
) -> LandmarkSet:
    if header.get("format") != FORMAT:
        raise BadLandmarkSet(
            f"{name} has format {header.get('format')!r}; {FORMAT!r} is read",
            limit=FORMAT,
            actual=str(header.get("format")),
        )
    if header.get("digest") != _digest(header, tensors):
        raise BadLandmarkSet(f"{name} was changed after it was written: its digest does not fit")
    try:
        names = tuple(str(landmark) for landmark in header["names"])
        skeleton = tuple((int(a), int(b)) for a, b in header["skeleton"])
        references = tuple(_references(tensors, len(names)))
        expected = tuple(None if share is None else float(share) for share in header["expected"])
        sources = tuple(str(source) for source in header["sources"])
        pattern = Pattern(
            str(header["category"]), names, skeleton, references, str(header["network"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadLandmarkSet(f"{name} is not complete: {type(error).__name__} {error}") from error
    if not all(0 <= end < len(names) for pair in skeleton for end in pair):
        raise BadLandmarkSet(f"{name} joins landmarks that it does not have")
    if len(expected) not in (0, len(names)) or len(set(names)) < len(names):
        raise BadLandmarkSet(f"{name} does not say of each landmark once what to expect")
    return LandmarkSet(pattern, sources, expected)


def _references(tensors: Mapping[str, torch.Tensor], landmarks: int) -> list[Reference]:
    count = len({name.split(".")[0] for name in tensors})
    if not 1 <= count <= MOST_REFERENCES or not 1 <= landmarks <= MOST_LANDMARKS:
        raise ValueError(f"{count} references of {landmarks} landmarks")
    layers = len(tensors) // count - 2
    references = []
    for number in range(count):
        places = tensors[f"{number}.places"].numpy().astype(np.float64)
        marked = tensors[f"{number}.marked"].numpy().astype(bool)
        maps = tuple(tensors[f"{number}.layer.{layer}"].float() for layer in range(layers))
        if places.shape != (landmarks, 2) or marked.shape != (landmarks,):
            raise ValueError(f"reference {number} has other landmarks")
        if not maps or any(layer.dim() != 3 or not layer.isfinite().all() for layer in maps):
            raise ValueError(f"the maps of reference {number} are not right")
        if not (np.isfinite(places).all() and (np.abs(places) <= 2 * GRID).all()):
            raise ValueError(f"a landmark of reference {number} is far outside")
        references.append(Reference(maps, Shape(places, marked)))
    return references


def summary(name: str, kept: LandmarkSet) -> dict[str, Any]:
    """What `GET /landmarks` and `landmarks list` tell of a set."""
    pattern = kept.pattern
    return {
        "name": name,
        "category": pattern.category,
        "network": pattern.network,
        "references": len(pattern.references),
        "landmarks": [
            {"name": landmark, "expected": expected}
            for landmark, expected in zip(
                pattern.names, kept.expected or (None,) * len(pattern.names), strict=True
            )
        ],
        "skeleton": pattern.skeleton,
    }
