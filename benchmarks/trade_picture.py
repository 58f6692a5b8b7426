"""The trade as curves: `python -m benchmarks.trade_picture` draws docs/trade.png of the results."""

import json
from typing import Any

from benchmarks.record import RESULTS

NETWORKS = {"efficientnet_lite0": "EfficientNet-Lite0", "vgg16real": "VGG-16"}
PANELS = {
    "whole": "landmarks, F1 whole",
    "boxed": "landmarks, F1 in the box",
    "pairs": "pairs, share on the asked one",
    "repeatability": "repeatability",
    "deletion": "deletion, less is better",
}


def main() -> None:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(PANELS), figsize=(17, 3.4), layout="constrained")
    for axes, (name, title) in zip(panels, PANELS.items(), strict=True):
        for place, (network, label) in enumerate(NETWORKS.items()):
            curve = json.loads((RESULTS / f"trade_{network}.json").read_text())["curve"]
            draw(axes, curve, name, label, f"C{place}", 0.15 * place)
        axes.set_title(title, fontsize=10)
        axes.tick_params(axis="x", labelrotation=60, labelsize=8)
    panels[2].legend(loc="lower left", fontsize=8)
    figure.savefig(RESULTS.parents[1] / "docs" / "trade.png", dpi=90)


def draw(
    axes: Any, curve: list[dict[str, Any]], name: str, label: str, colour: str, shift: float
) -> None:
    """One line with 95 % intervals over the settings, in order of passes; the default is a star."""
    settings = sorted(curve, key=lambda setting: (setting["passes"], setting["weight"]))
    measured = [figure_of(setting, name) for setting in settings]
    if None in measured:
        return
    values = [value["mean"] for value in measured if value]
    spans = [value["interval"] for value in measured if value]
    reach = [
        [value - span[0] for value, span in zip(values, spans, strict=True)],
        [span[1] - value for value, span in zip(values, spans, strict=True)],
    ]
    places = [shift + place for place in range(len(settings))]
    axes.errorbar(
        places, values, yerr=reach, color=colour, label=label, marker="o", markersize=3, capsize=2
    )
    default = next(i for i, one in enumerate(settings) if "corners" in one["f1"]["all"]["whole"])
    axes.plot(places[default], values[default], "*", color=colour, markersize=13)
    axes.set_xticks(
        range(len(settings)),
        [f"{setting['passes']} passes, weight {setting['weight']}" for setting in settings],
    )


def figure_of(setting: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The mean and the interval, of landmarks over all photographs; None where not measured."""
    if name in ("whole", "boxed"):
        return dict(setting["f1"]["all"][name]["ours"])
    found: dict[str, Any] | None = setting.get(name)
    return found


if __name__ == "__main__":
    main()
