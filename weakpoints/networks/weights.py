"""Weights are an input, and are checked like one: the download and the verified load."""

import hashlib
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from weakpoints.errors import WeightsError
from weakpoints.networks.manifest import Entry

BLOCK = 2**20
TIMEOUT = 30  # seconds without a byte


def verify(entry: Entry) -> None:
    """Checks that the weights are here and are the right ones.

    Raises WeightsError if the file is missing or not the one whose digest the manifest states.
    """
    if not entry.path.exists():
        raise WeightsError(f"the weights of {entry.name!r} are not at {entry.path}; {_how(entry)}")
    actual = digest(entry.path)
    if not actual.startswith(entry.sha256):
        raise WeightsError(
            f"{entry.path} has SHA-256 {actual}, the manifest says {entry.sha256}",
            expected=entry.sha256,
            actual=actual,
        )


def load_state(entry: Entry) -> dict[str, Tensor]:
    """The verified tensors on the CPU, from safetensors or a `.pth`.

    Of a `.pth` nothing but tensors is unpickled.
    """
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
    """Gives a module its tensors: all of them and no others, each of the right shape.

    The module may be on the meta device, too.
    """
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
    """Downloads the weights, verifies them, and only then puts the file in place.

    It goes on where an earlier attempt stopped. If it is done already, nothing happens.
    """
    if entry.path.exists():
        verify(entry)
        return entry.path
    if entry.url is None:
        raise WeightsError(f"the weights of {entry.name!r} can't be pulled: {_how(entry)}")
    entry.path.parent.mkdir(parents=True, exist_ok=True)
    partial = entry.path.with_name(entry.path.name + ".partial")
    try:
        _fetch(entry.url, partial, entry.name, progress)
    except (OSError, HTTPException) as error:
        raise WeightsError(
            f"could not fetch {entry.name!r}: {error}. Run the command again to go on, or put the "
            f"file at {entry.path} yourself; its SHA-256 begins with {entry.sha256[:16]}"
        ) from error
    actual = digest(partial)
    if not actual.startswith(entry.sha256):
        partial.unlink()
        raise WeightsError(
            f"what came for {entry.name!r} has SHA-256 {actual}, "
            f"not {entry.sha256}; it was deleted",
            expected=entry.sha256,
            actual=actual,
        )
    os.replace(partial, entry.path)
    return entry.path


def _how(entry: Entry) -> str:
    """How missing weights are to be had."""
    if entry.url:
        return f"`weakpoints weights pull {entry.name}` fetches them"
    if entry.package:
        return f"`pip install {entry.package}` brings them"
    return f"the manifest has no address for them; put the file at {entry.path}"


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, partial: Path, name: str, progress: bool) -> None:
    """Appends what is missing of `partial`.

    Raises OSError (URLError is one) where the answer ends early.
    """
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
