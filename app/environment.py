"""What a setting's text in the environment means, as people and their tools write it there."""

import json
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from annotated_types import Le
from pydantic import AfterValidator, BeforeValidator, IPvAnyNetwork
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, NoDecode

SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
FOREIGN = "label_studio_"  # settings that are read without our prefix as well
PORT_NUMBERS = {"http": 80, "https": 443}  # browsers leave these out of an origin


class Environment(EnvSettingsSource):
    """Empty is as if not set: Compose and Helm pass on what nobody filled in.

    Quotes around a value are taken off: `docker run --env-file` leaves them there. A port of the
    form tcp://host:port is no setting: Kubernetes and `docker --link` give WEAKPOINTS_PORT that
    form in every container beside a service named `weakpoints`. What is of Label Studio has the
    name that Label Studio's own backends read, too: LABEL_STUDIO_URL.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        if not value and field_name.startswith(FOREIGN):
            value = self.env_vars.get(field_name)
        if isinstance(value, str):
            value = unquoted(value) or None
            if value and field_name == "port" and SERVICE_LINK.match(value):
                value = None
        return value, key, is_complex


def unquoted(text: str) -> str:
    """Without the spaces around it, and without one pair of quotes."""
    text = text.strip()
    inner = text[1:-1]
    if len(text) >= 2 and text[0] == text[-1] in ('"', "'") and text[0] not in inner:
        return inner.strip()
    return text  # of several pairs, each belongs to an entry of a list


def entries(value: object) -> object:
    """Of a setting that is a list: a JSON list, or its entries with commas between them.

    Raises ValueError for text that begins like JSON and is none.
    """
    if not isinstance(value, str):
        return value
    text = unquoted(value)
    if text[:1] not in {"[", "{"}:
        return tuple(entry for part in text.split(",") if (entry := unquoted(part)))
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it begins like JSON, and is none ({error}); {EXAMPLE}") from None
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError(f"a list of texts is expected; {EXAMPLE}")
    return tuple(value)


EXAMPLE = 'send ["one", "another"], or one,another'


def server(text: str) -> str:
    """The address of a server, "" for none. Raises ValueError for anything else."""
    parts = urlsplit(text)
    plain = parts.username is None and not parts.query and not parts.fragment
    if text and not (parts.scheme in PORT_NUMBERS and parts.hostname and plain):
        raise ValueError("an address such as http://labelstudio:8080 is expected")
    return text.rstrip("/")


def origin(text: str) -> str:
    """As browsers write an origin: scheme, host, and the port where it is not the scheme's own.

    `*` and `null` stay. Raises ValueError for what is no origin, and says what is missing.
    """
    text = text.strip()
    if text in {"*", "null"}:
        return text
    parts = urlsplit(text)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is no origin: {error}") from None
    if not parts.scheme or not host or "*" in host or parts.username is not None:
        raise ValueError(f"{text!r} is no origin; it is written as https://example.com")
    name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    if not HOST.fullmatch(name):
        raise ValueError(f"{text!r} is no origin: {host!r} is no host")
    of_its_own = "" if port in (None, PORT_NUMBERS.get(parts.scheme)) else f":{port}"
    origin = f"{parts.scheme}://{name}{of_its_own}"
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is an address, not an origin; its origin is {origin}")
    return origin


def expanded(path: Path) -> Path:
    """Behind `~` the user's folder: no shell reads the files that settings come from.

    Raises ValueError where that folder is not known.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{error}") from None


def lowered(value: object) -> object:
    """A name that is written in small letters, however it came."""
    return value.lower() if isinstance(value, str) else value


def prefix(value: object) -> object:
    """Of paths, as `/keypoints`: with a slash before it and none behind; `/` is none."""
    if not isinstance(value, str) or not value.strip("/"):
        return "" if isinstance(value, str) else value
    return "/" + value.strip("/")


def without_brackets(host: str) -> str:
    """An address of IPv6 without the brackets that it has in front of a port."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


Listed = (NoDecode, BeforeValidator(entries))  # a list as text: `entries` reads it, not pydantic
Networks = Annotated[tuple[IPvAnyNetwork, ...], *Listed]
Origins = Annotated[tuple[Annotated[str, AfterValidator(origin)], ...], *Listed]
File = Annotated[Path, AfterValidator(expanded)]
MOST_SECONDS = 366 * 86_400.0  # more is as good as never, and clocks of the system end somewhere
LARGEST_AMOUNT = 2**50  # pixels, bytes or boxes: so that what they are multiplied by stays a number
Seconds = Annotated[float, Le(MOST_SECONDS)]
Amount = Annotated[int, Le(LARGEST_AMOUNT)]
