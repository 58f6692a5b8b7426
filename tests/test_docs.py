"""docs/evaluation.md and docs/scale.md say what was measured and planned."""

import json
from pathlib import Path

import pytest

from app.evaluation.plan import plan, text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def rows() -> list[str]:
    """Every row of its tables, from the figures."""
    found = {
        name: json.loads((RESULTS / f"{name}.json").read_text()) for name in ("landmarks", "deletion", "repeatability", "sanity", "patches")
    }
    marks, whole = found["landmarks"], found["landmarks"]["whole"]
    lines = [
        f"| {name} | "
        + " | ".join(triple(each[figure]) for each in (marks[name], whole[name]) for figure in ("f1", "corrected_recall"))
        + " |"
        for name in whole
    ]
    for method, each in found["deletion"].items():
        if isinstance(each, dict) and "deletion" in each:
            lines.append(f"| {method} | {each['deletion']:.2f} ({span(each['deletion_interval'])}) | {each['insertion']:.3f} |")
    for method, each in found["repeatability"].items():
        if isinstance(each, dict) and "by_warp" in each:
            warps = " | ".join(f"{share:.2f}" for _, share in sorted(each["by_warp"].items()))
            lines.append(f"| {method} | {each['repeatability']:.2f} ({span(each['interval'])}) | {each['error_px']:.2f} | {warps} |")
    for change, each in found["sanity"].items():
        if isinstance(each, dict) and "coarse" in each:
            figures = " | ".join(f"{each[name]:.2f}" for name in ("coarse", "fine", "fused"))
            lines.append(f"| {change} | {figures} | {each['keypoints']:.2f} ({span(each['keypoints_interval'])}) |")
    for patch, each in found["patches"].items():
        if isinstance(each, dict) and "half_area" in each:
            lines.append(
                f"| {patch} | {each['half_area']:.3f} ({span(each['half_area_interval'], 3)}) | {each['range']:.2f} | {each['deviation']:.3f} |"
            )
    bins = " | ".join(f"{each['near_a_landmark']:.2f}" for each in marks["calibration"])
    means = " | ".join(f"{each['confidence']:.2f}" for each in marks["calibration"])
    return [*lines, f"| confidence | {means} |", f"| near a landmark | {bins} |"]


def triple(by_alpha: dict[str, float]) -> str:
    return " / ".join(f"{value:.2f}" for value in by_alpha.values())


def span(interval: list[float], digits: int = 2) -> str:
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


@pytest.mark.parametrize("row", rows())
def test_each_figure_of_the_evaluation_is_the_one_that_was_measured(row: str) -> None:
    assert row in (ROOT / "docs" / "evaluation.md").read_text()


def scale_rows() -> list[str]:
    """Every row of the table in docs/scale.md; the network was measured by one and two workers."""
    found = json.loads((RESULTS / "scale.json").read_text())
    lines = []
    for workers in (1, 2, 4):
        service, network = found[f"sleeping_service_{workers}"], found.get(f"network_service_{workers}")
        calm = service["at_load"]
        cells = [
            f"{service['images_per_second']:.1f} ({service['efficiency']:.0%})",
            f"{calm['mean_s']:.3f} / {calm['p95_s']:.3f}",
            f"{calm['expected_mean_s']:.3f} / {calm['expected_p95_s']:.3f}",
            f"{network['images_per_second']:.2f} ({network['efficiency']:.0%})" if network else "",
            f"{found[f'sleeping_collection_{workers}']['total_s']:.1f}",
        ]
        lines.append(f"| {workers} | " + " | ".join(cells) + " |")
    return lines


def test_docs_scale_has_the_measured_rows_and_the_plan() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    for line in scale_rows() if (RESULTS / "scale.json").exists() else ["Not recorded yet"]:
        assert line in page
    for line in text(plan("h200", 1e9, 1000, 0.1, None)).splitlines():
        assert line in page
