"""docs/evaluation.md and docs/scale.md say what was measured and planned."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.performance.capacity import plan, text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def tables() -> dict[str, list[str]]:
    """Every row of its tables, from the figures."""
    found = {
        name: json.loads((RESULTS / f"{name}.json").read_text())
        for name in ("landmarks", "deletion", "repeatability", "sanity", "patches")
    }
    marks, again = found["landmarks"], found["repeatability"]
    return {
        "landmarks": list(landmarks(marks, marks["held_out"])),
        "most_found": [
            f"| {each['group']} | {each['landmark']} | {each['found']:.2f} ({span(each['interval'])}) | {each['random']:.2f} | {each['seen']} |"
            for each in marks["most_found"]
        ],
        "near a landmark": bins(marks["calibration"], "near a landmark"),
        "found again": bins(again["calibration"], "found again"),
        "deletion": [
            f"| {name} | {each['deletion']:.2f} ({span(each['interval']['deletion'])}) | {each['insertion']:.3f} ({span(each['interval']['insertion'], 3)}) |"
            for name, each in methods(found["deletion"], "deletion")
        ],
        "repeatability": [
            f"| {name} | {each['repeatability']:.2f} ({span(each['interval']['repeatability'])}) | {each['error_px']:.2f} | "
            + " | ".join(f"{share:.2f}" for _, share in sorted(each["by_warp"].items()))
            + " |"
            for name, each in methods(again, "by_warp")
        ],
        "sanity": [
            f"| {name} | "
            + " | ".join(
                f"{each[part]:.2f}" if part in each else "" for part in ("coarse", "fine", "fused")
            )
            + f" | {each['keypoints']:.2f} ({span(each['interval']['keypoints'])}) |"
            for name, each in methods(found["sanity"], "keypoints")
        ],
        "patches": [
            f"| {name} | {each['half_area']:.3f} ({span(each['interval']['half_area'], 3)}) | {each['range']:.2f} | {each['deviation']:.3f} | "
            f"{each['stable']:.2f} ({span(each['interval']['stable'])}) |"
            for name, each in methods(found["patches"], "half_area")
        ],
    }


def landmarks(marks: dict[str, Any], rest: dict[str, Any]) -> Iterator[str]:
    for name, whole in marks["whole"].items():
        cells = [
            triple(each[figure])
            for each in (marks[name], whole)
            for figure in ("f1", "corrected_recall")
        ]
        yield f"| {name} | {' | '.join(cells)} | {triple(rest['whole'][name]['f1'])} |"


def bins(calibration: list[dict[str, float]], name: str) -> list[str]:
    header, row = (
        " | ".join(f"{each[key]:.2f}" for each in calibration) for key in ("confidence", "right")
    )
    return [
        f"| confidence | {header} |",
        "| --- |" + " --- |" * len(calibration),
        f"| {name} | {row} |",
    ]


def methods(figures: dict[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return (
        (name, each) for name, each in figures.items() if isinstance(each, dict) and key in each
    )


def triple(by_alpha: dict[str, float]) -> str:
    return " / ".join(f"{value:.2f}" for value in by_alpha.values())


def span(interval: list[float], digits: int = 2) -> str:
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


@pytest.mark.parametrize("table", tables().values(), ids=tables())
def test_each_figure_of_the_evaluation_is_the_one_that_was_measured(table: list[str]) -> None:
    assert table
    assert "\n".join(table) in (ROOT / "docs" / "evaluation.md").read_text()


def scale_rows() -> list[str]:
    """Every row of the table in docs/scale.md; the network was measured by one and two workers."""
    found = json.loads((RESULTS / "scale.json").read_text())
    lines = []
    for workers in (1, 2, 4):
        service, batch = (
            found[f"sleeping_service_{workers}"],
            found[f"sleeping_collection_{workers}"],
        )
        calm = service["at_load"]
        network = [found.get(f"network_{what}_{workers}") for what in ("service", "collection")]
        cells = [
            f"{service['images_per_second']:.1f} ({service['efficiency']:.0%})",
            f"{calm['mean_s']:.3f} / {calm['p95_s']:.3f}",
            f"{calm['expected_mean_s']:.3f} / {calm['expected_p95_s']:.3f}",
            f"{batch['images_per_second']:.1f} ({batch['efficiency']:.0%})",
            f"{batch['start_s']:.0f} / {batch['total_s']:.0f}",
            *(
                f"{each['images_per_second']:.2f} ({each['efficiency']:.0%})" if each else ""
                for each in network
            ),
        ]
        lines.append(f"| {workers} | " + " | ".join(cells) + " |")
    return lines


def test_docs_evaluation_says_by_how_much_ours_is_more_repeatable() -> None:
    found = json.loads((RESULTS / "repeatability.json").read_text())
    sift, orb, shi_tomasi = (found[name]["behind_ours"] for name in ("sift", "orb", "shi_tomasi"))
    page = " ".join((ROOT / "docs" / "evaluation.md").read_text().split())
    assert (
        f"More repeatable than SIFT by {sift['mean']:.2f} ({span(sift['interval'])}, photographs drawn in pairs) and than ORB by {orb['mean']:.2f} "
        f"({span(orb['interval'])}); level with Shi-Tomasi ({shi_tomasi['mean']:.2f}, {span(shi_tomasi['interval'])})."
    ) in page
    assert sift["interval"][0] > 0, "the goal: more repeatable than the corners people use"


def test_docs_scale_has_the_measured_rows_and_the_plan() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    for line in scale_rows() if (RESULTS / "scale.json").exists() else ["Not recorded yet"]:
        assert line in page
    for line in text(plan("h200", 1e9, 1000, 0.1, None)).splitlines():
        assert line in page
