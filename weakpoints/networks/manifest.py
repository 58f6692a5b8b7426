"""The manifest of networks: what each one is, where its weights are, and how it is asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated, Any

from platformdirs import user_data_path
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from weakpoints.errors import WeightsError
from weakpoints.networks.labels import read_labels
from weakpoints.options import NetworkDefaults

PACKAGED = Path(__file__).parents[1] / "model_weights"  # as a wheel lays it
MODEL_WEIGHTS = PACKAGED if PACKAGED.is_dir() else Path(__file__).parents[2] / "model_weights"
DOWNLOADED = "downloaded"  # what a manifest calls the folder of pulled weights
TORCHVISION = "torchvision:"  # labels and addresses that torchvision has are named, not copied
AUTO = ("vgg16", "efficientnet_lite0")  # what the network `auto` is, the first that is here
Channels = tuple[float, float, float]
Pixels = Annotated[int, Field(strict=True, ge=1, le=4096)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Mean = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
LEAST_STD = 1e-3
Deviation = Annotated[float, Field(strict=True, ge=LEAST_STD, le=1, allow_inf_nan=False)]


class Occluder(BaseModel):
    """A network's default detection, see `NetworkDefaults`; its box is in pixels of the input."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    patch: Pixels
    stride: Pixels
    colours: Annotated[int, Field(strict=True, ge=1, le=64)] = 2
    weight: Share = NetworkDefaults.weight
    fine_share: Share = NetworkDefaults.fine_share


class Fields(BaseModel):
    """A network as the manifest file has it.

    labels: a file beside the manifest, or `torchvision:` and the name of weights there; url
    likewise. mean, std: of pixels from 0 to 1, red, green, blue. file: relative to the manifest,
    or to where Python packages are if `package` names the distribution that brings it. sha256: 64
    hex digits, or the first 8 or more where that is all that is published. widths: channels of a
    narrow VGG-16's blocks. graph: the file of operations, relative to the manifest, where
    architecture is `graph`; graph_sha256: its digest. occluder: of the default detection; without
    it, boxes of side/14 every side/28.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    architecture: str
    labels: str
    side: Pixels
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Deviation, Deviation, Deviation]
    file: str
    sha256: Annotated[str, StringConstraints(to_lower=True, pattern=r"^[0-9a-fA-F]{8,64}$")]
    licence: str
    url: str | None = None
    package: str | None = None
    widths: tuple[Pixels, ...] | None = None
    occluder: Occluder | None = None
    graph: str | None = None
    graph_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _box_fits(self) -> "Fields":
        """Else every request without options of its own would be refused."""
        box = self.occluder
        if box is not None and not box.stride <= box.patch <= self.side:
            raise ValueError(
                f"occluder: its patch is {box.patch} and its stride {box.stride}; stride is at "
                f"most patch, and patch at most the side, {self.side}"
            )
        return self


@dataclass(frozen=True)
class Entry:
    """One network of the manifest, its names looked up; the rest is as in `Fields`."""

    name: str
    architecture: str
    labels: tuple[str, ...]
    side: int
    mean: Channels
    std: Channels
    path: Path
    url: str | None
    sha256: str
    licence: str
    widths: tuple[int, ...] | None = None
    package: str | None = None
    occluder: Occluder | None = None
    graph: Path | None = None
    graph_sha256: str | None = None

    @property
    def defaults(self) -> NetworkDefaults | None:
        """Of a detection; None: boxes in proportion to the side."""
        return None if self.occluder is None else NetworkDefaults(**self.occluder.model_dump())


def read_manifest(manifest: Path, downloads: Path | None = None) -> dict[str, Entry]:
    """Every network by name. Files are relative to the manifest; `downloaded/` is `downloads`,
    where that is given. Raises WeightsError naming what is wrong and where.
    """
    networks = _networks(manifest)
    return {name: _entry(name, networks[name], manifest, downloads) for name in networks}


def downloads_of(manifest: Path) -> Path:
    """Where pulled weights are kept: beside the manifest.

    A package's folder may not be written to, so it is the user's data folder there.
    """
    folder = manifest.parent
    return user_data_path("weakpoints") if folder == PACKAGED else folder / DOWNLOADED


def find(manifest: Path, name: str, downloads: Path | None = None) -> Entry:
    """One network, as `read_manifest` has it.

    `auto` is the first of AUTO whose weights are here.
    """
    return choose_network(manifest, name, downloads)[0]


def choose_network(manifest: Path, name: str, downloads: Path | None = None) -> tuple[Entry, str]:
    """The network, and why it is this one; the others' entries are not looked at.

    Raises WeightsError where there is none of this name.
    """
    networks = _networks(manifest)
    if name == "auto":
        return _first_here(networks, manifest, downloads)
    if name not in networks:
        raise WeightsError(f"no network {name!r} in {manifest}; there are {', '.join(networks)}")
    return _entry(name, networks[name], manifest, downloads), f"{name} was asked for"


def _networks(manifest: Path) -> Mapping[str, object]:
    try:
        networks = json.loads(manifest.read_text("utf-8-sig"))["networks"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{manifest} is not a manifest of networks: {error}") from error
    if not isinstance(networks, dict) or not networks:
        raise WeightsError(f"{manifest} is not a manifest of networks: `networks` is no object")
    return networks


def _first_here(
    networks: Mapping[str, object], manifest: Path, downloads: Path | None
) -> tuple[Entry, str]:
    known = [_entry(name, networks[name], manifest, downloads) for name in AUTO if name in networks]
    if not known:
        raise WeightsError(
            f"network 'auto' is one of {', '.join(AUTO)}, and {manifest} has none of them; "
            f"name one of {', '.join(networks)}"
        )
    chosen = next((entry for entry in known if entry.path.exists()), known[-1])
    missing = [entry for entry in known[: known.index(chosen)]]
    why = "".join(f"the weights of {entry.name} are not here; " for entry in missing)
    return chosen, f"auto: {why}{chosen.name} is {'here' if chosen.path.exists() else 'the last'}"


def _entry(name: str, given: object, manifest: Path, downloads: Path | None) -> Entry:
    folder = manifest.parent
    try:
        fields = Fields.model_validate(given)
        return Entry(
            name,
            fields.architecture,
            _labels(fields.labels, folder),
            fields.side,
            fields.mean,
            fields.std,
            _path(fields, folder, downloads or folder / DOWNLOADED),
            fields.url,
            fields.sha256,
            fields.licence,
            fields.widths,
            fields.package,
            fields.occluder,
            None if fields.graph is None else _inside(folder, fields.graph),
            fields.graph_sha256,
        )
    except ValidationError as error:
        raise WeightsError(f"the manifest's entry {name!r} is not right: {_said(error)}") from error
    except (ValueError, OSError, KeyError) as error:
        raise WeightsError(f"the manifest's entry {name!r} is not right: {error}") from error


def _said(error: ValidationError) -> str:
    """Where the first fault is, what it is, and what stands there."""
    first = error.errors()[0]
    where = "".join(f"{part}: " for part in [".".join(map(str, first["loc"]))] if part)
    rule, given = first["msg"].removeprefix("Value error, "), f"; it is {first['input']!r}"[:100]
    scale = " (mean and std are of pixels from 0 to 1)" if where.startswith(("mean", "std")) else ""
    return f"{where}{rule}{scale}{given if where else ''}"


def _labels(labels: str, folder: Path) -> tuple[str, ...]:
    if labels.startswith(TORCHVISION):
        return tuple(_of_torchvision(labels).meta["categories"])
    return read_labels(_inside(folder, labels))


def address(entry: Entry) -> str | None:
    """Where its weights are fetched; what torchvision names is looked up there.

    Raises WeightsError where torchvision has no such weights.
    """
    if entry.url is None or not entry.url.startswith(TORCHVISION):
        return entry.url
    try:
        return str(_of_torchvision(entry.url).url)
    except (ValueError, KeyError) as error:
        raise WeightsError(
            f"the manifest's entry {entry.name!r} is not right: url: {error}"
        ) from error


def _of_torchvision(name: str) -> Any:
    from torchvision.models import get_weight  # takes a second, and some networks need none of it

    return get_weight(name.removeprefix(TORCHVISION))


def _path(fields: Fields, folder: Path, downloads: Path) -> Path:
    """Where the weights are or would be; a package that is not installed is a path that is not."""
    if fields.package is not None:
        try:
            packages = Path(str(distribution(fields.package).locate_file("")))
        except PackageNotFoundError:
            packages = Path(f"(package {fields.package} is not installed)")
        return _inside(packages, fields.file)
    first, _, rest = fields.file.partition("/")
    return _inside(downloads, rest) if first == DOWNLOADED else _inside(folder, fields.file)


def _inside(folder: Path, file: str) -> Path:
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{file} leads out of {folder}")
    return path
