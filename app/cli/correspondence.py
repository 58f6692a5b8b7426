"""`weakpoints evaluate correspondence`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from app.cli.parameters import Count, Folder, Json, NetworkFlags
from app.cli.terminal import bar, show


def correspondence(
    *,
    annotations: Annotated[Path, Parameter(help="COCO keypoints of one or several categories")],
    images: Annotated[Folder, Parameter(help="what its file names are relative to")],
    references: Annotated[
        Count, Parameter(help="photographs that show the landmarks; 1: every ordered pair")
    ] = 1,
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
) -> int:
    """is a landmark of one photograph found on another of its class?"""
    from app.loading import loaded
    from weakpoints.evaluation.correspondence import correspondence
    from weakpoints.landmarks.annotations import read_categories

    categories = read_categories(annotations.read_bytes(), str(annotations))
    detector = loaded(network.settings())
    figures = correspondence(detector, categories, images, references, partial(bar, "cases"))
    show(as_json, {"network": detector.model.name, **figures}, _formatted(figures))
    return 0


def _formatted(figures: dict[str, Any]) -> str:
    rows = [("all", figures), *figures["by_category"].items(), *figures["baselines"].items()]
    quarters = " ".join(f"{share:.2f}" for share in figures["quarters"])
    return "\n".join(
        [
            f"{figures['cases']} cases, {figures['references']} references each; right at",
            *(_table_line(name, figures) for name, figures in rows),
            f"right at 0.1 by quarters of the confidence: {quarters}",
            f"calibration error {figures['calibration_error']:.3f}",
        ]
    )


def _table_line(name: str, figures: dict[str, Any]) -> str:
    shares = "  ".join(f"{alpha} {share:.3f}" for alpha, share in figures["pck"].items())
    return f"  {name:20} {shares}"
