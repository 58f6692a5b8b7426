"""What the fine maps are worth behind each activation, from benchmarks/results/activations.json."""

from collections.abc import Iterable
from typing import Any

from docs.figures import read, span, table

SAID = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "silu": "SiLU",
    "silu_gates": "SiLU, gates",
    "gelu": "GELU",
    "hard_swish": "hard-swish",
    "attention": "GELU, attention",
}
MAPS = ("guided_contrast", "guided", "gradient_contrast", "gradient", "input_contrast", "input")


def measured() -> dict[str, dict[str, Any]]:
    """Of each network that was."""
    networks = read("activations")["networks"]
    return {name: networks[name] for name in SAID if "measure" in networks.get(name, {})}


def deletion() -> str:
    """The rank correlation with single deletions, one row a network."""

    def row(name: str, each: dict[str, Any]) -> Iterable[object]:
        maps = each["measure"]["maps"]
        first, *others = (f"{maps[fine]['single_deletion']:.2f}" for fine in MAPS)
        interval = span(maps[MAPS[0]]["interval"]["single_deletion"])
        return SAID[name], f"{each['train']['accuracy']:.2f}", f"{first} ({interval})", *others

    header = ("between the products", "accuracy", *map(_said, MAPS))
    return table(header, [row(name, each) for name, each in measured().items()])


def sanity() -> str:
    """The map's correlation with itself, for another class and with the last quarter drawn anew."""

    def row(name: str, each: dict[str, Any]) -> Iterable[object]:
        maps = each["measure"]["maps"]
        figures = (
            f"{maps[fine]['other_class']:.2f}, {maps[fine]['top_layers']:.2f}, "
            f"{maps[fine]['all_layers']:.2f}"
            for fine in MAPS
        )
        return SAID[name], *figures

    header = ("between the products", *map(_said, MAPS))
    return table(header, [row(name, each) for name, each in measured().items()])


def keypoints() -> str:
    """Deletion and insertion of the keypoints, one row a network."""
    maps = (*(fine for fine in MAPS if fine.endswith("_contrast")), "random_points")

    def row(name: str, each: dict[str, Any]) -> Iterable[object]:
        figures = (each["measure"]["maps"][fine] for fine in maps)
        return SAID[name], *(f"{of['deletion']:.2f}, {of['insertion']:.2f}" for of in figures)

    header = ("between the products", *map(_said, maps))
    return table(header, [row(name, each) for name, each in measured().items()])


def said() -> str:
    """Behind which activations the default agrees best with deletions, as a sentence."""
    ahead = [SAID[name] for name, each in measured().items() if not better(each)]
    return (
        f"contrast agrees best with deletions behind {len(ahead)} of {len(measured())}: "
        f"{'; '.join(ahead)}."
    )


def replaced() -> str:
    """Where another map agrees better with deletions than the default, as a sentence."""
    found = {SAID[name]: better(each) for name, each in measured().items() if better(each)}
    if not found:
        return (
            "None of the plain gradients agrees better with deletions, so there is no other rule."
        )
    each = (f"{name} ({', '.join(map(_said, maps))})" for name, maps in found.items())
    return f"Another map agrees better behind {'; '.join(each)}."


def better(each: dict[str, Any]) -> list[str]:
    """Fine maps that agree better with single deletions than the default."""
    maps = each["measure"]["maps"]
    least = maps[MAPS[0]]["single_deletion"]
    return [fine for fine in MAPS if maps[fine]["single_deletion"] > least]


def _said(fine: str) -> str:
    if fine == "guided_contrast":
        return "contrast (default)"
    words = fine.replace("input", "gradient_x_input").replace("_contrast", ", contrast")
    return words.replace("_", " ")
