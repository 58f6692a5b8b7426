"""The tables of docs/evaluation.md, made of benchmarks/results."""

from collections.abc import Iterator

from docs.figures import Figures, read, span, table
from docs.trade_tables import NETWORKS, measured, signed

MAPS = {  # of the fidelity: what they are called
    "coarse": "coarse map, with its sign",
    "coarse_clipped": "coarse map",
    "guided": "guided backpropagation (`fine=mirrored`)",
    "contrast": "the same times the contrast (the default's fine map)",
    "fused": "fused map",
    "saliency": "Captum: saliency",
    "smoothgrad": "Captum: SmoothGrad",
    "input_x_gradient": "Captum: input times gradient",
    "input_x_gradient_clipped": "Captum: the same, clipped",
    "integrated_gradients": "Captum: integrated gradients",
    "integrated_gradients_clipped": "Captum: the same, clipped",
}


def by_command() -> str:
    """F1 of `evaluate landmarks`: ours, the paper's preset and corner detectors."""
    names = {"paper": "`preset=paper`", "shi_tomasi": "Shi-Tomasi", "orb": "ORB", "sift": "SIFT"}
    rows = []
    for network in measured("landmarks"):
        found = read(f"landmarks_{network}")
        for where, methods_of in (("whole", found["whole"]), ("boxed", found)):
            ours = methods_of["ours"]
            less = found["differences"][where]["ours"]
            others = (signed(less[name]["0.1"]) for name in names)
            rows.append((network, found["photographs"], where, f"{ours['f1']['0.1']:.3f}", *others))
    header = ("network", "photographs", "", "ours", *(f"less {name}" for name in names.values()))
    return table(header, rows)


def calibration() -> str:
    """What a keypoint's confidence meant: the share near a landmark, by fifths of confidence."""
    rows = []
    for network in measured("landmarks"):
        found = read(f"landmarks_{network}")
        bins = (f"{one['confidence']:.2f}: {one['right']:.2f}" for one in found["calibration"])
        rows.append((network, *bins, f"{found['calibration_error']:.3f}"))
    fifths = ("lowest fifth", "second", "third", "fourth", "highest")
    return table(("network", *fifths, "calibration error"), rows)


def sanity() -> str:
    """How alike the maps and keypoints stay when the network or the class changes."""
    rows = []
    for network in measured("sanity"):
        found = read(f"sanity_{network}")
        depth = found["layers"]
        names = {
            "top_1": "the last layer drawn anew",
            f"top_{depth}": "all layers drawn anew",
            "random_class": "another class",
            "other_colours": "other colours of the boxes",
            "random_points": "as many random points",
        }
        for name, words in names.items():
            cells = (
                f"{found[name][part]:.2f} ({span(found[name]['interval'][part])})"
                if part in found[name]
                else ""
                for part in ("coarse", "fine", "fused", "keypoints")
            )
            rows.append((network, words, *cells))
    return table(("network", "what changes", "coarse", "fine", "fused", "keypoints"), rows)


def deletion() -> str:
    """Areas under the deletion and insertion curves, and ours less others."""
    names = {"paper": "`preset=paper`", "shi_tomasi": "Shi-Tomasi", "sift": "SIFT"}
    names |= {"reversed": "ours, weakest first", "random": "random points"}
    rows = []
    for network in measured("deletion"):
        found = read(f"deletion_{network}")
        for part in ("deletion", "insertion"):
            others = (
                f"{found[name]['behind_ours'][part]:+.3f} "
                f"({span(found[name]['behind_ours']['interval'][part], 3)})"
                for name in names
            )
            rows.append((network, part, f"{found['ours'][part]:.3f}", *others))
    header = ("network", "", "ours", *(f"better than {name}" for name in names.values()))
    return table(header, rows)


def fidelity() -> str:
    """Single deletion and the grid pointing game of each map."""
    rows = []
    for run in NETWORKS:
        found = read(f"fidelity_{run}")
        for name, title in MAPS.items():
            if name in found["deletion"]:
                parts = (found[part] for part in ("deletion", "grid"))
                figures = (_valued(part[name]) for part in parts)
                rows.append((run, title, *figures))
    return table(("network", "map", "single deletion", "grid pointing game"), rows)


def _valued(figure: Figures) -> str:
    return f"{figure['value']:.2f} ({span(figure['interval']['value'])})"


def repeatability() -> str:
    """The share of points found again with each network, and how much more than others'."""
    rivals = {
        "unrefined": "our peaks before Förstner",
        "sift": "SIFT",
        "orb": "ORB",
        "shi_tomasi": "Shi-Tomasi",
    }
    rows = []
    for network in measured("repeatability"):
        found = read(f"repeatability_{network}")
        ours = found["ours"]
        share = f"{ours['repeatability']:.2f} ({span(ours['interval']['repeatability'])})"
        less = (
            f"{found[rival]['behind_ours']['mean']:+.2f} "
            f"({span(found[rival]['behind_ours']['interval'])})"
            for rival in rivals
        )
        rows.append((network, found["photographs"], share, *less))
    names = (f"ours less {name}" for name in rivals.values())
    return table(("network", "photographs", "ours", *names), rows)


def patches() -> str:
    return table(
        ("", "half area", "range", "deviation", "stable"),
        (
            (
                name,
                f"{each['half_area']:.3f} ({span(each['interval']['half_area'], 3)})",
                f"{each['range']:.2f}",
                f"{each['deviation']:.3f}",
                f"{each['stable']:.2f} ({span(each['interval']['stable'])})",
            )
            for name, each in methods("patches", "half_area")
        ),
    )


def methods(study: str, key: str) -> Iterator[tuple[str, Figures]]:
    return (
        (name, each) for name, each in read(study).items() if isinstance(each, dict) and key in each
    )
