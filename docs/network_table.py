"""The table of classifiers that were read, checked and timed, from benchmarks/results."""

import math
from collections.abc import Iterable
from typing import Any

from docs.figures import read, table

Figures = dict[str, Any]
EXACT = 1e-10  # of the largest logit, in float64


def checks() -> dict[str, Figures]:
    """Of those that were read."""
    found = {name: each["checks"] for name, each in read("networks")["networks"].items()}
    return {name: each for name, each in found.items() if "failed" not in each}


def failed() -> dict[str, str]:
    networks = read("networks")["networks"]
    return {
        name: part["failed"]
        for name, parts in networks.items()
        for part in parts.values()
        if "failed" in part
    }


def inexact() -> list[str]:
    """Whose logits, or whose boxes' logits, are not those of the module."""
    return [
        name
        for name, each in checks().items()
        if max(each["apart"], *each["boxes_apart"].values()) > EXACT
    ]


def timed() -> dict[str, dict[str, float]]:
    """Seconds of each way, of those that were timed."""
    networks = read("networks")["networks"]
    return {
        name: each["seconds"]["seconds"]
        for name, each in networks.items()
        if "seconds" in each.get("seconds", {})
    }


def slower(than: str) -> dict[str, float]:
    """Than the whole passes of another, and how many times."""
    return {
        name: each["ours"] / each[than]
        for name, each in timed().items()
        if each["ours"] > each.get(than, math.inf)
    }


def spread() -> float:
    """The largest, of the slowest of three rounds less the quickest, over the quickest."""
    found = (each.get("seconds", {}) for each in read("networks")["networks"].values())
    return max(
        float(each["spread"]["ours"]) / float(each["seconds"]["ours"])
        for each in found
        if "spread" in each
    )


def said() -> str:
    """Who is slower than the whole passes of PyTorch, and of OpenVINO, as sentences."""
    sentences = []
    for than, called in (("eager", "PyTorch's"), ("openvino", "OpenVINO's")):
        names = [f"`{name}` ({times:.2f} times)" for name, times in slower(than).items()]
        named = f": {', '.join(names)}." if names else "."
        sentences.append(f"{len(names)} are slower than {called} whole passes{named}")
    return f"Of {len(timed())} that were timed, {' '.join(sentences)}"


def networks() -> str:
    """One row a network."""
    times = timed()

    def row(name: str, each: Figures) -> Iterable[object]:
        seconds = times.get(name, {})
        ways = ("ours", "eager", "openvino", "onnxruntime")
        return (
            f"`{name}`",
            each["operations"],
            f"{each['export_seconds']:.1f}",
            f"{each['saved']:.2f}",
            each["form"],
            f"{each['detection_seconds']:.1f}",
            *(f"{seconds[way]:.2f}" if way in seconds else "" for way in ways),
        )

    header = (
        *("network", "operations", "export, s", "products saved", "form", "a detection, s"),
        *("its boxes, s", "PyTorch", "OpenVINO", "ONNX Runtime"),
    )
    return table(header, [row(name, each) for name, each in checks().items()])
