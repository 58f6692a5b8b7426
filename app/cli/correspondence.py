"""`weakpoints evaluate correspondence`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from app.cli.parameters import Count, Folder, Json, Network
from app.cli.terminal import bar, show


def correspondence(
    *,
    annotations: Annotated[Path, Parameter(help="COCO keypoints of one or several categories")],
    images: Annotated[Folder, Parameter(help="what its file names are relative to")],
    references: Annotated[
        Count, Parameter(help="photographs that show the landmarks; 1: every ordered pair")
    ] = 1,
    as_json: Json = False,
    network: Network = Network(),
) -> int:
    """is a landmark of one photograph found on another of its class?"""
    from app.loading import loaded
    from weakpoints.evaluation.correspondence import correspondence
    from weakpoints.landmarks.annotations import read_categories

    categories = read_categories(annotations.read_bytes(), str(annotations))
    detector = loaded(network.settings())
    found = correspondence(detector, categories, images, references, partial(bar, "cases"))
    show(as_json, {"network": detector.model.name, **found}, _text(found))
    return 0


def _text(found: dict[str, Any]) -> str:
    rows = [("all", found), *found["by_category"].items(), *found["baselines"].items()]
    quarters = " ".join(f"{each:.2f}" for each in found["quarters"])
    return "\n".join(
        [
            f"{found['cases']} cases, {found['references']} references each; right at",
            *(_line(name, figures) for name, figures in rows),
            f"right at 0.1 by quarters of the confidence: {quarters}",
            f"calibration error {found['calibration_error']:.3f}",
        ]
    )


def _line(name: str, figures: dict[str, Any]) -> str:
    shares = "  ".join(f"{alpha} {share:.3f}" for alpha, share in figures["pck"].items())
    return f"  {name:20} {shares}"
