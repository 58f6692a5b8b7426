"""The manifest of networks, the download and the verified load: weights are an input, and are checked like one."""

import hashlib
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_weight
from tqdm import tqdm

from app.errors import WeightsError

BLOCK = 2**20
TIMEOUT = 30  # seconds without a byte
DOWNLOADED = "downloaded"  # what a manifest calls the folder of pulled weights
TORCHVISION = (
    "torchvision:"  # labels and addresses that torchvision already knows are named, not copied
)


@dataclass(frozen=True)
class Entry:
    """One network of the manifest; `sha256` has 64 hex digits, or the first 8 or more where that is all that is published."""

    name: str
    architecture: str
    labels: tuple[str, ...]
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    path: Path
    url: str | None
    sha256: str
    licence: str
    widths: tuple[int, ...] | None = None


def read_manifest(manifest: Path, downloads: Path | None = None) -> dict[str, Entry]:
    """Every network by name. Files are relative to the manifest; `downloaded/` is `downloads`,
    where that is given. Raises WeightsError naming what is wrong and where.
    """
    try:
        networks = json.loads(manifest.read_text())["networks"]
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{manifest} is not a manifest of networks: {error}") from error
    folder, downloads = manifest.parent, downloads or manifest.parent / DOWNLOADED
    return {name: _entry(name, fields, folder, downloads) for name, fields in networks.items()}


def find(manifest: Path, name: str, downloads: Path | None = None) -> Entry:
    """One network, as `read_manifest` has it."""
    entries = read_manifest(manifest, downloads)
    if name not in entries:
        raise WeightsError(f"no network {name!r} in {manifest}; there are {', '.join(entries)}")
    return entries[name]


def verify(entry: Entry) -> None:
    """Raises WeightsError if the file is missing or not the one whose digest the manifest states."""
    if not entry.path.exists():
        ask = (
            f"`weakpoints weights pull {entry.name}` fetches it"
            if entry.url
            else "the manifest names no address to fetch it from"
        )
        raise WeightsError(f"the weights of {entry.name!r} are not at {entry.path}; {ask}")
    actual = digest(entry.path)
    if not actual.startswith(entry.sha256):
        raise WeightsError(
            f"{entry.path} has SHA-256 {actual}, the manifest says {entry.sha256}",
            expected=entry.sha256,
            actual=actual,
        )


def load_state(entry: Entry) -> dict[str, Tensor]:
    """The verified tensors on the CPU, from safetensors or a `.pth`, of which nothing but tensors is unpickled."""
    verify(entry)
    try:
        if entry.path.suffix == ".safetensors":
            return load_file(entry.path)
        state: dict[str, Tensor] = torch.load(entry.path, map_location="cpu", weights_only=True)
        return state
    except Exception as error:  # broken files make the unpickler raise almost anything
        raise WeightsError(
            f"{entry.path} holds no weights that can be loaded safely: {type(error).__name__}"
        ) from error


def assign(module: nn.Module, state: dict[str, Tensor], entry: Entry) -> None:
    """Give a module (on the meta device, too) its tensors: all of them and no others, each of the right shape."""
    wanted = module.state_dict()
    wanted = {
        key: value
        for key, value in wanted.items()
        if not (key.endswith("num_batches_tracked") and key not in state)
    }
    missing, unknown = sorted(wanted.keys() - state), sorted(state.keys() - wanted)
    if missing or unknown:
        raise WeightsError(
            f"the weights of {entry.name!r} do not fit {entry.architecture}: "
            + "; ".join(
                f"{len(keys)} {what} ({', '.join(keys[:3])})"
                for what, keys in (("missing", missing), ("unknown", unknown))
                if keys
            )
        )
    for key, value in wanted.items():
        if value.shape != state[key].shape:
            raise WeightsError(
                f"the weights of {entry.name!r} do not fit: {key} is {list(state[key].shape)}, "
                f"{entry.architecture} with {len(entry.labels)} labels wants {list(value.shape)}"
            )
    counters = {key: torch.tensor(0) for key in module.state_dict().keys() - wanted}
    module.load_state_dict(state | counters, strict=True, assign=True)


def pull(entry: Entry, *, progress: bool = True) -> Path:
    """Download, going on where an earlier attempt stopped, verify, and only then put the file in place. Done already: nothing happens."""
    if entry.path.exists():
        verify(entry)
        return entry.path
    if entry.url is None:
        raise WeightsError(
            f"network {entry.name!r} has no address in the manifest; put its file at {entry.path}"
        )
    entry.path.parent.mkdir(parents=True, exist_ok=True)
    partial = entry.path.with_name(entry.path.name + ".partial")
    try:
        _fetch(entry.url, partial, entry.name, progress)
    except (OSError, HTTPException) as error:
        raise WeightsError(
            f"could not fetch {entry.name!r}: {error}. Run the command again to go on, or put the file at {entry.path} yourself; "
            f"its SHA-256 begins with {entry.sha256[:16]}"
        ) from error
    actual = digest(partial)
    if not actual.startswith(entry.sha256):
        partial.unlink()
        raise WeightsError(
            f"what came for {entry.name!r} has SHA-256 {actual}, not {entry.sha256}; it was deleted",
            expected=entry.sha256,
            actual=actual,
        )
    os.replace(partial, entry.path)
    return entry.path


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, partial: Path, name: str, progress: bool) -> None:
    """Append what is missing of `partial`. Raises OSError (URLError is one) where the answer ends early."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise OSError(f"{url} is not an http(s) address")
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if (
            error.code == 416
        ):  # the whole file is there already, or is a longer one: the digest decides
            return
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        bar = tqdm(
            total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=not progress
        )
        with bar, partial.open("ab" if resumed else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    if total is not None and partial.stat().st_size < total:
        raise OSError(f"the connection ended after {partial.stat().st_size} of {total} bytes")


def _entry(name: str, fields: dict[str, Any], folder: Path, downloads: Path) -> Entry:
    try:
        labels, url, widths = fields["labels"], fields.get("url"), fields.get("widths")
        if labels.startswith(TORCHVISION):
            labels = get_weight(labels.removeprefix(TORCHVISION)).meta["categories"]
        else:
            labels = json.loads(_inside(folder, labels).read_text())
        if url and url.startswith(TORCHVISION):
            url = get_weight(url.removeprefix(TORCHVISION)).url
        sha256 = fields["sha256"].lower()
        if len(sha256) < 8 or set(sha256) - set("0123456789abcdef"):
            raise ValueError(f"sha256 {sha256!r} is no digest")
        mean, std = (tuple(float(v) for v in fields[key]) for key in ("mean", "std"))
        if len(mean) != 3 or len(std) != 3:
            raise ValueError("mean and std have three values each")
        first, _, rest = fields["file"].partition("/")
        path = _inside(*((downloads, rest) if first == DOWNLOADED else (folder, fields["file"])))
        return Entry(
            name,
            fields["architecture"],
            tuple(labels),
            int(fields["side"]),
            mean,
            std,
            path,
            url,
            sha256,
            fields["licence"],
            tuple(widths) if widths else None,
        )
    except (KeyError, ValueError, OSError, TypeError, AttributeError) as error:
        raise WeightsError(f"the manifest's entry {name!r} is not right: {error}") from error


def _inside(folder: Path, file: str) -> Path:
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{file} leads out of {folder}")
    return path
