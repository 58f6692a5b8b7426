"""Mutated pictures of every format, decoded in a child as the service does and, a sample of them,
sent to it: `python -m tests.fuzz --inputs 100000 --sent 500`.

Each input is an image, or refused as one, within its deadline; anything else ends the run. Prints
JSON.
"""

import argparse
import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import httpx2
import numpy as np
from PIL import Image
from pillow_heif import register_heif_opener

from app.decoding.pool import Decoders
from app.loading import loaded
from app.settings import Settings
from benchmarks.memory import status_bytes
from tests.service import encoded, serving
from weakpoints.errors import BadImage, MalformedRequest, TooLarge, UnsupportedMedia
from weakpoints.options import Limits

NAMED = (  # chunks of a PNG that name its colours: Display P3, and light as it is
    b"\0\0\0\4cICP\x0c\x0d\0\1" + zlib.crc32(b"cICP\x0c\x0d\0\1").to_bytes(4),
    b"\0\0\0\4gAMA\0\1\x86\xa0" + zlib.crc32(b"gAMA\0\1\x86\xa0").to_bytes(4),
)
REFUSED = (BadImage, MalformedRequest, TooLarge, UnsupportedMedia)
PNG = b"\x89PNG\r\n\x1a\n"
DEADLINE = 5.0  # seconds that a child has for one of these small pictures


@dataclass
class Seen:
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    memory: list[int] = field(default_factory=list)

    def take(self, look: Callable[[bytes], str], data: bytes) -> None:
        start = time.perf_counter()
        self.outcomes[look(data)] += 1
        self.slowest_ms = max(self.slowest_ms, (time.perf_counter() - start) * 1000)
        self.memory.append(status_bytes("self", "VmRSS") or 0)

    @property
    def growth_bytes(self) -> int:
        """From the second quarter's median to the last's: what comes before is warming up."""
        quarter = max(1, len(self.memory) // 4)
        return int(
            np.median(self.memory[-quarter:]) - np.median(self.memory[quarter : 2 * quarter])
        )


def originals() -> dict[str, list[bytes]]:
    """Small files of every kind that the decoders tell apart, by format."""
    register_heif_opener()  # to write them
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    smooth = Image.fromarray(noise).resize((48, 40), Image.Resampling.BILINEAR, (0, 0, 6, 5))
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "JPEG": [
            encoded(smooth, "JPEG"),
            encoded(smooth, "JPEG", progressive=True),
            encoded(smooth, "JPEG", exif=turned),
            encoded(smooth.convert("L"), "JPEG"),
            encoded(smooth.convert("CMYK"), "JPEG"),
            encoded(Image.fromarray(noise), "JPEG", quality=95),
        ],
        "PNG": [
            encoded(smooth),
            encoded(smooth.convert("RGBA")),
            encoded(smooth.convert("P")),
            encoded(smooth.convert("1")),
            encoded(Image.fromarray(noise[..., 0].astype(np.uint16) * 257)),
            encoded(smooth, compress_level=0),
            encoded(smooth.convert("P"), transparency=3),
            *(png[:33] + named + png[33:] for png in [encoded(smooth)] for named in NAMED),
        ],
        "WEBP": [
            encoded(smooth, "WEBP"),
            encoded(smooth, "WEBP", lossless=True),
            encoded(smooth.convert("RGBA"), "WEBP"),
        ],
        "TIFF": [
            encoded(smooth, "TIFF"),
            encoded(smooth, "TIFF", compression="tiff_lzw", exif=turned),
            encoded(smooth.convert("P"), "TIFF"),
        ],
        "AVIF": [encoded(smooth, "AVIF"), encoded(smooth.convert("RGBA"), "AVIF")],
        **{kind: [encoded(smooth, kind)] for kind in ("GIF", "BMP", "HEIF")},
    }


def mutants(seed: int, *kinds: str) -> Iterator[bytes]:
    """Of these formats, or of all, without end; the same for the same seed."""
    rng, known = np.random.default_rng(seed), originals()
    every = [data for each in known.values() for data in each]
    mutated = [data for kind in kinds for data in known[kind]] or every
    while True:
        data = bytearray(mutated[rng.integers(len(mutated))])
        for _ in range(rng.geometric(0.4)):
            if not data:
                break
            mutate(data, rng, every)
        if rng.integers(2):
            mend_checksums(data)
        yield bytes(data)


def mutate(data: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    here, there = sorted(int(at) for at in rng.integers(0, len(data), 2))
    match rng.integers(7):
        case 0:
            data[here] ^= 1 << rng.integers(8)
        case 1:
            data[here] = rng.integers(256)
        case 2:
            data[here : here + 4] = rng.choice(
                [b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00"]
            )
        case 3:  # mostly where the sizes are
            data[min(here % 64, len(data) - 1)] = rng.integers(256)
        case 4:
            del data[here:there]
        case 5:
            data[here:here] = data[here:there]
        case 6:
            other = others[rng.integers(len(others))]
            data[here:] = other[min(here, len(other)) :]


def mend_checksums(data: bytearray) -> None:
    """Of a PNG's chunks, so that what was changed comes as far as the decoder."""
    at = 8
    while data[:8] == PNG and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4)
        at = end + 4


def decoded(decoders: Decoders, data: bytes) -> str:
    try:
        image = decoders.decode(data, DEADLINE)
    except REFUSED as error:
        return "crashed" if "broke down" in error.detail else error.slug
    assert image.dtype == np.uint8
    assert image.shape[2] in (3, 4)
    return "decoded"


def sent(client: httpx2.Client, data: bytes) -> str:
    answer = client.post("/detect", content=data, headers={"content-type": "image/png"})
    if answer.status_code == 200:
        return "answered"
    slug = str(answer.json()["type"]).rpartition(":")[2]
    assert slug in {each.slug for each in REFUSED}, (answer.text, data)
    return slug


def fuzz(look: Callable[[bytes], str], count: int, seed: int, *kinds: str) -> Seen:
    seen = Seen()
    for data in islice(mutants(seed, *kinds), count):
        seen.take(look, data)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of each format")
    parser.add_argument("--sent", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with Decoders(1, Limits()) as decoders:
        look = partial(decoded, decoders)
        here = {kind: fuzz(look, args.inputs, args.seed, kind) for kind in originals()}
    quick = {"patch": 96, "stride": 96, "colours": 1}
    with serving(
        lambda: loaded(Settings()), cache_bytes=0
    ) as client:  # the cache would grow up to its limit
        client.params = quick
        there = fuzz(lambda data: sent(client, data), args.sent, args.seed + 1)
        assert client.get("/livez").status_code == 200
    by_format = {kind: figures(seen) for kind, seen in here.items()}
    print(json.dumps({"seed": args.seed, "decoded": by_format, "sent": figures(there)}))


def figures(seen: Seen) -> dict[str, object]:
    return {
        "inputs": sum(seen.outcomes.values()),
        "outcomes": dict(seen.outcomes),
        "slowest_ms": seen.slowest_ms,
        "growth_bytes": seen.growth_bytes,
    }


if __name__ == "__main__":
    main()
