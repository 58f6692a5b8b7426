"""The tables of docs/evaluation.md, made of benchmarks/results."""

from collections.abc import Iterator

from docs.figures import Figures, read, span, table

NETWORKS = ("efficientnet_lite0", "vgg16real")
METHODS = {  # of the landmarks: what they are called
    "ours": "ours",
    "ours_unspread": "ours, unspread",
    "corners": "corners",
    "corners_spread": "corners, spread",
    "random_weights": "random weights, spread",
    "random_weights_unspread": "random weights, unspread",
    "grid": "a grid",
    "oracle": "oracle",
}
WHERE = ("whole", "boxed")
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


def trade_landmarks() -> str:
    """F1 of each method with each network, by set."""
    rows = []
    for network in NETWORKS:
        for name, part in at_default(network)["f1"].items():
            for where in WHERE:
                figures = (f"{part[where][method]['mean']:.3f}" for method in METHODS)
                rows.append((network, f"{part['photographs']} of {name}, {where}", *figures))
    return table(("network", "photographs", *METHODS.values()), rows)


def trade_differences() -> str:
    """Ours less each other method on all photographs, with the paired interval."""
    others = [method for method in METHODS if method not in ("ours", "oracle")]
    rows = []
    for network in NETWORKS:
        everywhere = at_default(network)["f1"]["all"]
        for where in WHERE:
            less = (_signed(everywhere[where][method]["ours_less"]) for method in others)
            rows.append((network, where, *less))
    return table(("network", "", *(METHODS[method] for method in others)), rows)


def trade_curve() -> str:
    """What passes and weight buy, the default in bold."""
    rows = []
    for network in NETWORKS:
        for setting in read(f"trade_{network}")["curve"]:
            line = (
                network,
                f"{setting['patch']} / {setting['step']}",
                setting["passes"],
                setting["weight"],
                *(_spanned(setting["f1"]["all"][where]["ours"]) for where in WHERE),
                _spanned(setting["pairs"]),
                _spanned(setting["repeatability"]) if setting["repeatability"] else "",
            )
            chosen = setting is at_default(network)
            rows.append(tuple(f"**{cell}**" if chosen and cell != "" else cell for cell in line))
    header = ("network", "box / step", "passes", "weight", *WHERE, "pairs", "repeatability")
    return table(header, rows)


def at_default(network: str) -> Figures:
    """The setting that has every method's figures: the default."""
    curve: list[Figures] = read(f"trade_{network}")["curve"]
    return next(setting for setting in curve if "corners" in setting["f1"]["all"]["whole"])


def cpu_times() -> str:
    """CPU seconds of a whole detection on one thread, by passes."""
    runs = {network: read(f"cpu_time_{network}")["occlusions"] for network in NETWORKS}
    return table(
        ("box / step, colours", "passes", *(f"{network}, CPU seconds" for network in runs)),
        (
            (
                f"{lines[0]['patch']} / {lines[0]['step']}, {lines[0]['colours']}",
                lines[0]["passes"],
                *(f"{line['cpu_s']:.2f}" for line in lines),
            )
            for lines in zip(*runs.values(), strict=True)
        ),
    )


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


def _spanned(figure: Figures) -> str:
    return f"{figure['mean']:.3f} ({span(figure['interval'])})"


def _signed(figure: Figures) -> str:
    return f"{figure['mean']:+.3f} ({span(figure['interval'], 3)})"


def repeatability() -> str:
    """The share of points found again with each network, and how much more than others'."""
    rivals = {"sift": "SIFT", "orb": "ORB", "shi_tomasi": "Shi-Tomasi"}
    rows = []
    for network in NETWORKS[:1]:
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
