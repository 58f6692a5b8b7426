"""The tables of docs/evaluation.md, made of benchmarks/results."""

from collections.abc import Iterator

from docs.figures import Figures, read, span, table

NETWORKS = ("vgg16real", "efficientnet_lite0")
LANDMARKS = {  # the runs of each network
    "vgg16real": ("landmarks_vgg16real", "landmarks_vgg16real_val"),
    "efficientnet_lite0": ("landmarks_efficientnet_lite0",),
}
RIVALS = {
    "corners": "plain corners",
    "random_weights": "random weights",
    "shi_tomasi": "Shi-Tomasi",
    "sift": "SIFT",
    "random": "random points",
}


def parts() -> str:
    """What each part of the default adds on each network."""
    return table(
        (
            "network",
            "ranked by",
            "F1 at 0.1",
            "more than the line above",
            "keypoints on the photograph asked for",
            "more than the line above",
        ),
        (line for network in NETWORKS for line in _parts(network)),
    )


def _parts(network: str) -> Iterator[tuple[str, ...]]:
    found = read(f"parts_{network}")
    pairs, sets = found["pairs"], found["landmarks"]
    for part in ("corners", "guided", "contrast", "coarse"):
        f1 = (f"{name} {each['f1'][part]:.3f}" for name, each in sets.items())
        more = (_added(each["adds"], part) for each in sets.values())
        share = f"{pairs[part]:.3f} ({span(pairs['interval'][part])})"
        yield (
            network,
            part,
            ", ".join(f1),
            ", ".join(filter(None, more)),
            share,
            _added(pairs["adds"], part),
        )


def class_added(network: str, part: str) -> str:
    """The share of keypoints on the photograph asked for that a part adds."""
    return _added(read(f"parts_{network}")["pairs"]["adds"], part)


def _added(adds: Figures, part: str) -> str:
    """Empty for the first part."""
    if part not in adds:
        return ""
    return f"{adds[part]:+.3f} ({span(adds['interval'][part], 3)})"


def real_landmarks() -> str:
    """F1 at 0.1 of each network's whole default, and of what it has to beat, by set."""
    return table(
        ("network", "photographs", "ours", *RIVALS.values(), "ours less corners"),
        (
            (
                network,
                f"{each['photographs']} of {name}, {where}",
                *(f"{each[where]['f1'][method]['0.1']:.3f}" for method in ("ours", *RIVALS)),
                f"{less['mean']:+.3f} ({span(less['interval'], 3)})",
            )
            for network, runs in LANDMARKS.items()
            for run in runs
            for name, each in read(run)["by_set"].items()
            for where in ("whole", "boxed")
            for less in [each[where]["ours_less"]["corners"]["0.1"]]
        ),
    )


def real_repeatability() -> str:
    """The share of points found again with each network, and how much more than others'."""
    rivals = {"sift": "SIFT", "orb": "ORB", "shi_tomasi": "Shi-Tomasi"}
    return table(
        ("network", "photographs", "ours", *(f"ours less {name}" for name in rivals.values())),
        (
            (
                network,
                read(study)["photographs"],
                with_interval(study, "ours", "repeatability"),
                *(more_repeatable(rival, study) for rival in rivals),
            )
            for network in NETWORKS
            for study in [f"repeatability_{network}"]
        ),
    )


def real_sanity() -> str:
    """The share of keypoints that each network keeps when something of it changes."""
    changes = {
        "random_class": "another class",
        "top_1": "last layer drawn anew",
        "other_colours": "other colours of the boxes",
    }
    return table(
        ("network", "photographs", *changes.values()),
        (
            (
                network,
                read(study)["photographs"],
                *(with_interval(study, change, "keypoints") for change in changes),
            )
            for network in NETWORKS
            for study in [f"sanity_{network}"]
        ),
    )


def real_pairs() -> str:
    """Share of keypoints and of each map's mass on the photograph that is asked for."""
    maps = ("coarse", "fine", "fused")
    return table(
        ("network", "", "keypoints", *maps),
        (
            (
                network,
                method,
                f"{each['keypoints']:.2f} ({span(each['interval']['keypoints'])})",
                *(f"{each[kind]:.2f}" if kind in each else "" for kind in maps),
            )
            for network in NETWORKS
            for method, each in methods(f"pairs_{network}", "keypoints")
        ),
    )


def landmarks() -> str:
    """F1 and corrected recall at 0.05 / 0.1 / 0.2, within the boxes and without."""
    marks = read("landmarks")
    rest = marks["held_out"]["whole"]
    return table(
        (
            "",
            "F1, boxes",
            "corrected recall, boxes",
            "F1, whole",
            "corrected recall, whole",
            "F1, whole, held out",
        ),
        (
            (
                name,
                *(
                    by_alpha(each[figure])
                    for each in (marks[name], whole)
                    for figure in ("f1", "corrected_recall")
                ),
                by_alpha(rest[name]["f1"]),
            )
            for name, whole in marks["whole"].items()
        ),
    )


def most_found() -> str:
    """How often each kind of landmark is found."""
    return table(
        ("", "landmark", "found", "random", "seen"),
        (
            (
                each["group"],
                each["landmark"],
                f"{each['found']:.2f} ({span(each['interval'])})",
                f"{each['random']:.2f}",
                each["seen"],
            )
            for each in read("landmarks")["most_found"]
        ),
    )


def calibration(study: str, name: str) -> str:
    """Confidence in bins, beside the share that was right."""
    bins = read(study)["calibration"]
    confidence, right = ([f"{each[key]:.2f}" for each in bins] for key in ("confidence", "right"))
    return table(("confidence", *confidence), [(name, *right)])


def deletion(study: str = "deletion") -> str:
    """What blurring each method's points leaves of the class, and by how much ours leaves less."""
    return table(
        ("", "deletion", "deletion less ours", "insertion"),
        (
            (
                name,
                f"{each['deletion']:.2f} ({span(each['interval']['deletion'])})",
                "" if name == "ours" else _behind(each["behind_ours"], "deletion"),
                f"{each['insertion']:.3f} ({span(each['interval']['insertion'], 3)})",
            )
            for name, each in methods(study, "deletion")
        ),
    )


def _behind(less: Figures, figure: str) -> str:
    return f"{less[figure]:+.2f} ({span(less['interval'][figure])})"


def repeatability() -> str:
    warps = sorted(read("repeatability")["ours"]["by_warp"])
    return table(
        ("", "repeatability", "error", *warps),
        (
            (
                name,
                f"{each['repeatability']:.2f} ({span(each['interval']['repeatability'])})",
                f"{each['error_px']:.2f}",
                *(f"{each['by_warp'][warp]:.2f}" for warp in warps),
            )
            for name, each in methods("repeatability", "by_warp")
        ),
    )


def more_repeatable(than: str, study: str = "repeatability") -> str:
    """By how much ours is more repeatable, with the interval of the paired difference."""
    behind = read(study)[than]["behind_ours"]
    return f"{behind['mean']:.2f} ({span(behind['interval'])})"


def with_interval(study: str, method: str, figure: str) -> str:
    """One figure of a study, and its interval."""
    found = read(study)[method]
    return f"{found[figure]:.2f} ({span(found['interval'][figure])})"


def sanity() -> str:
    return table(
        ("", "coarse", "fine", "fused", "keypoints"),
        (
            (
                name,
                *(f"{each[m]:.2f}" if m in each else "" for m in ("coarse", "fine", "fused")),
                f"{each['keypoints']:.2f} ({span(each['interval']['keypoints'])})",
            )
            for name, each in methods("sanity", "keypoints")
        ),
    )


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


def by_alpha(figures: dict[str, float]) -> str:
    return " / ".join(f"{value:.2f}" for value in figures.values())


CORRESPONDENCE = {  # the runs: what they are called
    "efficientnet_lite0": "EfficientNet-Lite0, one reference",
    "efficientnet_lite0_5": "EfficientNet-Lite0, five references",
    "vgg16real": "VGG-16, one reference",
    "efficientnet_lite0_val": "EfficientNet-Lite0, one reference, other classes",
    "efficientnet_lite0_val_5": "EfficientNet-Lite0, five references, other classes",
}


def correspondence() -> str:
    """Named points: PCK of each run, and of the simpler ways beside it."""
    return table(
        (
            "",
            "0.05",
            "0.1",
            "0.15",
            "interval at 0.1",
            "right by quarters of confidence",
            "calibration error",
        ),
        (line for run, title in CORRESPONDENCE.items() for line in _correspondence(run, title)),
    )


def _correspondence(run: str, title: str) -> Iterator[tuple[str, ...]]:
    found = read(f"correspondence_{run}")
    quarters = " / ".join(f"{share:.2f}" for share in found["quarters"])
    yield (title, *_pck(found), quarters, f"{found['calibration_error']:.3f}")
    if found["references"] == 1:
        for name, words in (
            ("nearest_neighbour", "nearest neighbour, without transport and votes"),
            ("sift", "SIFT with ratio test"),
            ("same_place", "the same place in the picture"),
        ):
            yield (f"- {words}", *_pck(found["baselines"][name]), "", "")


def _pck(figures: Figures) -> tuple[str, ...]:
    shares = (f"{figures['pck'][alpha]:.3f}" for alpha in ("0.05", "0.1", "0.15"))
    return (*shares, span(figures["interval"]["0.1"], 3))
