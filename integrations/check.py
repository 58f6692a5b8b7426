"""Does each tool accept what its integration makes? Against a service that runs.

    python integrations/check.py cvat http://localhost:8000 photo.jpg [LANDMARK SET]

`cvat` needs cvat-sdk, `fiftyone` fiftyone, `supervision` supervision, each with weakpoints_client
in an environment of its own. Nothing but the service is asked.
"""

import importlib.util
import json
import logging
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from weakpoints_client import Client

HERE = Path(__file__).parent
HALF = 0.5


def module_of(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    tool, url, photograph, *landmarks = sys.argv[1:]
    checks = {"cvat": cvat, "fiftyone": fiftyone, "supervision": supervision}
    print(json.dumps(checks[tool](url, Path(photograph), *landmarks)))


def cvat(url: str, photograph: Path, landmarks: str = "") -> dict[str, Any]:
    """The driver's own mapping, by which `annotate_task` checks what a function gives."""
    import cvat_sdk.auto_annotation.driver as driver
    from cvat_sdk import models
    from cvat_sdk.auto_annotation import DetectionFunctionContext

    class Context(DetectionFunctionContext):
        frame_name, conf_threshold, conv_mask_to_poly = photograph.name, None, False

    file, figures = HERE / "cvat" / "weakpoints_cvat.py", {}
    ways = [{}, *([{"shape": "skeleton"}, {"shape": "points"}] if landmarks else [])]
    for number, way in enumerate(ways):
        named = {"landmarks": landmarks} if number else {}
        function = module_of(file, "weakpoints_cvat").create(url, **named, **way)
        labels = [of_task(label, i, models) for i, label in enumerate(function.spec.labels)]
        mapper = driver._AnnotationMapper(
            logging.getLogger(),
            function.spec.labels,
            labels,
            allow_unmatched_labels=False,
            conv_mask_to_poly=False,
        )
        shapes = list(function.detect(Context(), Image.open(photograph)))
        assert shapes
        mapper.validate_and_remap(shapes, 0)
        figures[way.get("shape", "unnamed")] = len(shapes)
    return figures


def of_task(label: Any, number: int, models: Any) -> Any:
    """The label that a task would have: numbers of the server's."""
    sublabels = [
        models.Sublabel(id=1000 + i, name=point.name, type="points", attributes=[])
        for i, point in enumerate(getattr(label, "sublabels", []))
    ]
    about = {"id": 100 + number, "name": label.name, "type": label.type, "attributes": []}
    return models.Label(**about, sublabels=sublabels)


def fiftyone(url: str, photograph: Path, landmarks: str = "") -> dict[str, Any]:
    """The model of the remote zoo source; applied to a folder where FiftyOne has its database."""
    import fiftyone as fo

    source = module_of(HERE / "fiftyone_zoo" / "__init__.py", "weakpoints_zoo")
    given = {"landmarks": landmarks} if landmarks else {"heatmap": True}
    model = source.load_model("weakpoints", "", url=url, **given)
    try:
        labels, applied = applied_to_folder(fo, model, photograph), True
    except fo.core.config.FiftyOneConfigError:  # no MongoDB here
        labels, applied = model.predict(np.array(Image.open(photograph).convert("RGB"))), False
    points = labels["keypoints"].keypoints[0].points
    width, height = Image.open(photograph).size
    client, sent = Client(url), pixels_of(photograph)
    wire: Any = client.detect(sent).keypoints
    if landmarks:
        wire = client.landmarks(sent, landmarks).landmarks
        assert model.skeleton().labels == [point.name for point in wire]
    for (x, y), point in zip(points, wire, strict=True):
        if getattr(point, "visible", True):
            assert abs(x * width - point.x - HALF) < 1e-3
            assert abs(y * height - point.y - HALF) < 1e-3
    heat = None if landmarks else labels["heatmap"].map.shape
    about = {"points": len(points), "class": labels["class"].label, "heatmap": heat}
    return about | {"applied_to_a_dataset": applied, "version": fo.__version__}


def applied_to_folder(fo: ModuleType, model: Any, photograph: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, photograph.name).write_bytes(photograph.read_bytes())
        dataset = fo.Dataset.from_images_dir(folder)
        dataset.apply_model(model, label_field="weakpoints")
        sample = dataset.first()
        names = [name for name in sample.field_names if name.startswith("weakpoints_")]
        labels = {name.removeprefix("weakpoints_"): sample[name] for name in names}
        dataset.delete()
    return labels


def pixels_of(photograph: Path) -> bytes:
    """What the model sends: the same pixels, as PNG."""
    import io

    buffer = io.BytesIO()
    Image.open(photograph).convert("RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def supervision(url: str, photograph: Path, landmarks: str = "") -> dict[str, Any]:
    """Key points with covariance, drawn as ellipses."""
    import supervision as sv

    converter = module_of(HERE / "supervision" / "weakpoints_supervision.py", "converter")
    client, image = Client(url), np.array(Image.open(photograph).convert("RGB"))
    answers = {"detect": client.detect(photograph.read_bytes())}
    if landmarks:
        answers["landmarks"] = client.landmarks(photograph.read_bytes(), landmarks)
    figures = {"version": sv.__version__}
    for name, answer in answers.items():
        points = converter.key_points(answer)
        assert points.data["covariance"].shape == (*points.xy.shape[:2], 2, 2)
        drawn = sv.VertexEllipseAreaAnnotator().annotate(image.copy(), points)
        figures[name] = {"points": points.xy.shape[1], "changed": int((drawn != image).sum())}
        assert figures[name]["changed"]
    return figures


if __name__ == "__main__":
    main()
