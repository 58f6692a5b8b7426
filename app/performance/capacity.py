"""What a collection, or a rate of requests, needs: device hours, replicas, bytes.

Every figure says where it comes from.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import BadOption
from app.performance.queueing import devices_for, latencies

PACKAGED = Path(__file__).parents[1] / "benchmark_results"  # as a wheel lays it
RESULTS = PACKAGED if PACKAGED.is_dir() else Path(__file__).parents[2] / "benchmarks" / "results"
ARITHMETIC = (0.010, 0.016)
FLEETS = (8, 64, 512)
PHOTOGRAPH, KEPT = 150_000, 6_000
SHARE, BUSIEST = 0.95, 0.8


@dataclass(frozen=True)
class Assumption:
    """A figure that the plan rests on: its best and its worst value, and how it is known."""

    name: str
    best: float
    worst: float
    known: str


def plan(
    device: str, images: float, rate: float | None, latency: float | None, seconds: float | None
) -> dict[str, Any]:
    """What `images` photographs need on the device, and `rate` requests a second, if given.

    It is for VGG-16 on a GPU, or for the bundled network on two cores, one photograph at a time.
    seconds: what a photograph takes, where it was measured.
    """
    each, kept, pace = _seconds(device, seconds), _bytes(), _efficiency()
    hours = [
        images * value / share / 3600
        for value, share in ((each.best, pace.best), (each.worst, pace.worst))
    ]
    found: dict[str, Any] = {
        "device": device,
        "assumptions": [asdict(each), asdict(pace), asdict(kept), asdict(_read())],
        "collection": {
            "images": images,
            "device_hours": hours,
            "days_on": {str(fleet): [value / fleet / 24 for value in hours] for fleet in FLEETS},
            "bytes_read": images * PHOTOGRAPH,
            "bytes_kept": images * kept.worst,
            "bytes_read_a_second_and_device": PHOTOGRAPH / each.best,
        },
    }
    if rate is not None:
        found["service"] = _service(rate, each.worst, latency)
    return found


def text(found: Mapping[str, Any]) -> str:
    """The same for people."""
    work = found["collection"]
    low, high = work["device_hours"]
    lines = [
        f"{work['images']:.3g} photographs on {found['device']}: "
        f"{low:,.0f} to {high:,.0f} device hours, "
        + ", ".join(
            f"{low:,.3g} to {high:,.3g} days on {fleet}"
            for fleet, (low, high) in work["days_on"].items()
        ),
        f"{work['bytes_read'] / 1e12:,.3g} TB read, {work['bytes_kept'] / 1e12:,.3g} TB kept, "
        f"up to {work['bytes_read_a_second_and_device'] / 1e6:,.3g} MB/s for each device",
    ]
    if service := found.get("service"):
        lines.append(
            f"{service['rate']:g} requests/s, 95 % within {service['latency_s']:.3g} s: "
            f"{service['replicas']} replicas, {service['busy']:.0%} busy, mean "
            f"{service['mean_s']:.3g} s, 95 % within {service['p95_s']:.3g} s ({service['model']})"
        )
    return "\n".join(
        [
            *lines,
            *(
                f"- {each['name']}: {each['best']:.4g} to {each['worst']:.4g} ({each['known']})"
                for each in found["assumptions"]
            ),
        ]
    )


def _service(rate: float, seconds: float, latency: float | None) -> dict[str, Any]:
    wanted = 10 * seconds if latency is None else latency
    replicas = devices_for(rate, seconds, wanted, SHARE, BUSIEST)
    if replicas is None:
        raise BadOption(
            f"latency is {wanted:g} s, less than the {seconds:g} s that one photograph takes",
            option="latency",
            limit=seconds,
        )
    found = latencies(rate, seconds, replicas)
    return {
        "rate": rate,
        "latency_s": wanted,
        "replicas": replicas,
        "busy": rate * seconds / replicas,
        "mean_s": float(found.mean()),
        "p95_s": float(np.quantile(found, SHARE)),
        "model": "simulated: callers at random, the shorter of two queues; "
        f"{SHARE:.0%} within the latency, no replica busier than {BUSIEST:.0%}",
    }


def _seconds(device: str, seconds: float | None) -> Assumption:
    name = "seconds a photograph"
    if seconds is not None:
        return Assumption(name, seconds, seconds, "given")
    if device == "cpu":
        figures = _recorded("detection.json")
        if figures is None:
            raise BadOption(
                "benchmarks/results/detection.json is not here; give --seconds-per-image",
                option="seconds_per_image",
            )
        measured = figures["default"]["median_s"]
        return Assumption(
            name,
            measured,
            measured,
            "measured: benchmarks/results/detection.json, bundled network, a worker of two cores",
        )
    return Assumption(
        name,
        *ARITHMETIC,
        "ESTIMATE, not measured: no GPU was at hand. Twice (two colours) the 5 to 8 ms that "
        "arithmetic and memory leave for the 729 boxes of VGG-16 in half precision, which the "
        "engine has but no GPU has run yet. Measure, and give --seconds-per-image",
    )


def _efficiency() -> Assumption:
    name, figures = "share of a device's time that is used", _recorded("scale.json")
    if figures is None:
        return Assumption(
            name, 1.0, 1.0, "ASSUMED, not measured: benchmarks/results/scale.json is not here"
        )
    shares = [figures[f"sleeping_collection_{workers}"]["efficiency"] for workers in (2, 4)]
    known = (
        "measured: benchmarks/results/scale.json, collections by 2 and 4 workers against one, "
        "on one machine; not across machines"
    )
    return Assumption(name, min(1.0, max(shares)), min(1.0, *shares), known)


def _bytes() -> Assumption:
    name, figures = "bytes kept of a photograph", _recorded("scale.json")
    if figures is None:
        return Assumption(
            name, KEPT, KEPT, "ASSUMED, not measured: benchmarks/results/scale.json is not here"
        )
    kept = sum(figures["network_plain"]["bytes_per_image"].values())
    return Assumption(
        name, kept, kept, "measured: benchmarks/results/scale.json, all three files of a batch"
    )


def _read() -> Assumption:
    return Assumption(
        "bytes of a photograph", PHOTOGRAPH, PHOTOGRAPH, "assumed: a JPEG of half a megapixel"
    )


def _recorded(name: str) -> dict[str, Any] | None:
    path = RESULTS / name
    return json.loads(path.read_text()) if path.exists() else None
