"""`weakpoints benchmark`: is it fast?"""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from app.cli.parameters import (
    Above0,
    Count,
    Folder,
    Json,
    NetworkFlags,
    OptionFlags,
    command_group,
    settings_of_arguments,
)
from app.cli.terminal import bar, say, show
from weakpoints.errors import WeakpointsError

benchmark = command_group("benchmark", "measure how fast it is")

PrecisionFlag = Literal["float32", "tf32", "float16"]
Rounds = Annotated[Count, Parameter(help="each is timed so often, in turn")]
AtLeast8 = Annotated[int, Parameter(validator=validators.Number(gte=8))]


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"  # a wheel has no such folder
HOW = {  # what a benchmark imports beside the service, and where that comes from
    "weakpoints_client": "it calls the service by weakpoints-client, which is not installed: "
    "pip install ./client in a checkout",
    "captum": "--against captum needs Captum, which is not installed: pip install captum, "
    "or name --against full",
    "openvino": "--against openvino needs OpenVINO, which is not installed: pip install openvino",
    "onnxruntime": "--against onnxruntime needs it, and it is not installed: "
    "pip install onnxruntime onnxscript",
    "onnxscript": "--against onnxruntime exports by onnxscript, which is not installed: "
    "pip install onnxscript",
}
EXTRA_OF_RIVAL = {  # by a rival; whole passes of PyTorch's need nothing more
    "full": [],
    "captum": ["captum"],
    "openvino": ["openvino"],
    "onnxruntime": ["onnxruntime", "onnxscript"],
}


def require(*modules: str) -> None:
    """Raises WeakpointsError for the first thing that is missing, before anything is measured."""
    if not BENCHMARKS.is_dir():
        raise WeakpointsError("a benchmark is run in a checkout of the project, and this is none")
    for module in modules:
        if find_spec(module) is None:
            raise WeakpointsError(f"this benchmark can't run: {HOW[module]}")


@benchmark.command
def occlusion(
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    precision: PrecisionFlag = "float32",
    positions: Annotated[Count, Parameter(help="at most so many boxes")] = 729,
    rounds: Rounds = 3,
    against: Annotated[
        str, Parameter(help=f"any of {','.join(EXTRA_OF_RIVAL)}, or nothing")
    ] = "full,captum",
    neighbour: Annotated[
        bool,
        Parameter(help="time them beside a busy loop of another process, too", show_default=False),
    ] = False,
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
) -> int:
    """the occlusion of one picture, against what people use"""
    rivals = [name for name in against.split(",") if name]
    if unknown := set(rivals) - set(EXTRA_OF_RIVAL):
        return say(
            f"--against {', '.join(sorted(unknown))}: known are {', '.join(EXTRA_OF_RIVAL)}", 2
        )
    if device != "cpu" and (exported := {"openvino", "onnxruntime"} & set(rivals)):
        return say(f"--against {', '.join(sorted(exported))}: --device cpu only", 2)
    require(*(module for name in rivals for module in EXTRA_OF_RIVAL[name]))
    from benchmarks.speed import speed_of
    from benchmarks.speed_table import speed_table
    from weakpoints.networks.manifest import find

    settings = network.settings()
    entry = find(settings.manifest, settings.network, settings.downloads)
    figures = speed_of(
        entry,
        positions,
        rivals,
        rounds=rounds,
        device=device,
        precision=precision,
        neighbour=neighbour,
    )
    show(as_json, figures, speed_table(figures))
    return 0


@benchmark.command
def precision(
    *,
    images: Annotated[Folder, Parameter(help="folder of photographs")],
    limit: Annotated[Count, Parameter(help="photographs drawn from it")] = 20,
    queued: Annotated[
        str, Parameter(help="how many wait when speed is measured, or nothing")
    ] = "1,4,16",
    precision: PrecisionFlag = "float16",
    as_json: Json = False,
    network: NetworkFlags = NetworkFlags(),
    given: OptionFlags = OptionFlags(),
) -> int:
    """what a precision changes against float32, and how many images a second it does"""
    from app.loading import loaded

    require()
    from benchmarks.precision import precision_fidelity
    from weakpoints.evaluation.photographs import sample
    from weakpoints.evaluation.report import flat

    settings, options, paths = network.settings(), given.options(), sample(images, limit)
    counts = [int(count) for count in queued.split(",") if count.isdecimal() and int(count)]
    exact = loaded(settings.model_copy(update={"precision": "float32"}))
    other = loaded(settings.model_copy(update={"precision": precision}))
    figures = precision_fidelity(exact, other, paths, options, counts, partial(bar, "precision"))
    show(as_json, figures, flat(figures))
    return 0


@benchmark.command
def service(
    *,
    requests: Annotated[Count, Parameter(help="answers for each number of callers")] = 500,
    device_ms: Annotated[Above0, Parameter(help="milliseconds that an image takes on it")] = 20.0,
    as_json: Json = False,
) -> int:
    """what the service costs on top of a device that sleeps"""
    require("weakpoints_client")
    from benchmarks.load import service_load
    from weakpoints.evaluation.report import flat

    figures = service_load(settings_of_arguments(), requests, device_ms)
    show(as_json, figures, flat(figures))
    return 0


@benchmark.command
def scale(
    *,
    images: Annotated[str, Parameter(help="photographs for the network, as for batch")],
    device_ms: Annotated[Above0, Parameter(help="milliseconds of the device that sleeps")] = 100.0,
    count: Annotated[AtLeast8, Parameter(help="images for each of its workers")] = 200,
    limit: Annotated[AtLeast8, Parameter(help="photographs drawn from those")] = 32,
    as_json: Json = False,
) -> int:
    """what more workers of a Ray cluster on this machine bring"""
    require("weakpoints_client")
    from app.batch.collection import open_collection, subset
    from benchmarks.scale import scale_figures
    from weakpoints.evaluation.report import flat

    photographs = subset(open_collection(images), limit)
    figures = scale_figures(settings_of_arguments(), photographs, device_ms, count)
    show(as_json, figures, flat(figures))
    return 0
