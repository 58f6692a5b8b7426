"""The tables of docs/evaluation.md that benchmarks/trade.py makes, and what a detection costs."""

from docs.figures import RESULTS, Figures, read, span, table

NETWORKS = ("efficientnet_lite0", "vgg16real")
METHODS = {  # of the landmarks: what they are called
    "ours": "ours",
    "ours_not_rare": "ours without rarity",
    "ours_unspread": "ours, unspread",
    "corners": "corners",
    "corners_spread": "corners, spread",
    "random_weights": "random weights, spread",
    "random_weights_not_rare": "random weights, spread, without rarity",
    "random_weights_own_extent": "random weights, spread by their own extent",
    "random_weights_unspread": "random weights, unspread",
    "grid": "a grid",
    "oracle": "oracle",
}
WHERE = ("whole", "boxed")


def measured(study: str) -> list[str]:
    """The networks that a study was made with."""
    return [network for network in NETWORKS if (RESULTS / f"{study}_{network}.json").exists()]


def landmarks() -> str:
    """F1 of each method with each network, by set."""
    rows = []
    for network in NETWORKS:
        for name, part in at_default(network)["f1"].items():
            for where in WHERE:
                figures = (
                    f"{part[where][method]['mean']:.3f}" if method in part[where] else ""
                    for method in METHODS
                )
                rows.append((network, f"{part['photographs']} of {name}, {where}", *figures))
    return table(("network", "photographs", *METHODS.values()), rows)


def candidates() -> str:
    """The share of landmarks that a candidate is near, each counted once."""
    found = {network: read(f"trade_{network}") for network in NETWORKS}
    rows = (
        (network, spanned(trade["candidates"]))
        for network, trade in found.items()
        if "candidates" in trade
    )
    return table(("network", "landmarks with a candidate within 0.1 of the box"), rows)


def differences() -> str:
    """Ours less each other method on all photographs, with the paired interval."""
    others = [method for method in METHODS if method not in ("ours", "oracle")]
    rows = []
    for network in NETWORKS:
        everywhere = at_default(network)["f1"]["all"]
        for where in WHERE:
            less = (
                signed(everywhere[where][method]["ours_less"])
                if method in everywhere[where]
                else ""
                for method in others
            )
            rows.append((network, where, *less))
    return table(("network", "", *(METHODS[method] for method in others)), rows)


def curve() -> str:
    """What passes and weight buy, the default in bold."""
    rows = []
    for network in NETWORKS:
        for setting in read(f"trade_{network}")["curve"]:
            line = (
                network,
                f"{setting['patch']} / {setting['step']}",
                setting["passes"],
                setting["weight"],
                *(spanned(setting["f1"]["all"][where]["ours"]) for where in WHERE),
                spanned(setting["pairs"]),
                spanned(setting["repeatability"]) if setting["repeatability"] else "",
                spanned(setting["deletion"]) if setting.get("deletion") else "",
            )
            chosen = setting is at_default(network)
            rows.append(tuple(f"**{cell}**" if chosen and cell != "" else cell for cell in line))
    header = (
        "network",
        "box / step",
        "passes",
        "weight",
        *WHERE,
        "pairs",
        "repeatability",
        "deletion",
    )
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


def spanned(figure: Figures) -> str:
    """The mean and its interval."""
    return f"{figure['mean']:.3f} ({span(figure['interval'])})"


def signed(figure: Figures) -> str:
    """The mean of a difference and its interval."""
    return f"{figure['mean']:+.3f} ({span(figure['interval'], 3)})"
