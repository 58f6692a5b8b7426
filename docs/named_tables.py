"""The tables of named points in docs/evaluation.md, made of benchmarks/results."""

from collections.abc import Iterator

from docs.figures import Figures, read, span, table

RUNS = {  # what they are called
    "efficientnet_lite0": "EfficientNet-Lite0, one reference",
    "efficientnet_lite0_5": "EfficientNet-Lite0, five references",
    "vgg16real": "VGG-16, one reference",
    "efficientnet_lite0_val": "EfficientNet-Lite0, one reference, other classes",
    "efficientnet_lite0_val_5": "EfficientNet-Lite0, five references, other classes",
}
BASELINES = {
    "nearest_neighbour": "nearest neighbour, without transport and votes",
    "sift": "SIFT with ratio test",
    "same_place": "the same place in the picture",
}
ALPHAS = ("0.05", "0.1", "0.15")
PUBLISHED = {  # on PF-WILLOW's own pairs, by box: from the papers
    "HPF, ResNet-101 (Min et al. 2019)": ("0.459", "0.744", "0.856"),
    "SCOT, ResNet-101 (Liu et al. 2020)": ("0.480", "0.762", "0.871"),
    "SCOT, FCN-101 (Liu et al. 2020)": ("0.506", "0.781", "0.891"),
}


def correspondence() -> str:
    """PCK of each run, and of the simpler ways beside it."""
    header = ("", *ALPHAS, "interval at 0.1", "right by quarters of confidence")
    return table(header, (line for run in RUNS for line in _lines(run)))


def published() -> str:
    """One reference: ours on our pairs, and what papers report of PF-WILLOW's."""
    ours = (
        (
            RUNS[run].split(",")[0] + ", ours",
            "ducks and faces, all pairs",
            "of these pairs",
            *_pck(run)[:3],
        )
        for run in ("efficientnet_lite0", "vgg16real")
    )
    theirs = (
        (name, "PF-WILLOW's pairs", "of validation pairs", *shares)
        for name, shares in PUBLISHED.items()
    )
    return table(("", "photographs", "keypoints that chose layers", *ALPHAS), [*ours, *theirs])


def categories() -> str:
    """PCK at 0.1 of each category, and its interval over photographs."""
    return table(
        ("", "category", *ALPHAS, "interval at 0.1"),
        (
            (title, category, *_shares(figures))
            for run, title in RUNS.items()
            for category, figures in read(f"correspondence_{run}")["by_category"].items()
        ),
    )


def calibration() -> str:
    """What each fifth of the landmarks said of itself, and how many of it were right."""
    rows = []
    for run, title in RUNS.items():
        figures = read(f"correspondence_{run}")
        fifths = (
            f"{part['confidence']:.2f} / {part['right']:.2f}" for part in figures["calibration"]
        )
        rows.append((title, *fifths, f"{figures['calibration_error']:.3f}"))
    return table(("", *("said / right",) * 5, "calibration error"), rows)


def cropped() -> str:
    """With a third of the object cut away: what is said of the landmarks that are gone."""
    rows = []
    for run, title in RUNS.items():
        cut = read(f"correspondence_{run}")["cropped"]
        shares = (f"{cut[name]:.2f}" for name in ("said_not_visible", "right_and_said_visible"))
        rows.append((title, str(cut["gone"]), *shares))
    header = ("", "gone", "of them said not visible", "found rightly and said visible")
    return table(header, rows)


def _lines(run: str) -> Iterator[tuple[str, ...]]:
    figures = read(f"correspondence_{run}")
    quarters = " / ".join(f"{share:.2f}" for share in figures["quarters"])
    yield (RUNS[run], *_shares(figures), quarters)
    if run in ("efficientnet_lite0", "vgg16real"):
        for name, words in BASELINES.items():
            yield (f"- {words}", *_shares(figures["baselines"][name]), "")


def _pck(run: str) -> tuple[str, ...]:
    return _shares(read(f"correspondence_{run}"))


def _shares(figures: Figures) -> tuple[str, ...]:
    shares = (f"{figures['pck'][alpha]:.3f}" for alpha in ALPHAS)
    return (*shares, span(figures["interval"]["0.1"], 3))
