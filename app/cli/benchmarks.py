"""`weakpoints benchmark ...`: what each asks for, and how its answer is shown."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from app.batch.collection import drawn, open_collection
from app.cli.terminal import bar, say, show
from app.evaluation.photographs import sample
from app.evaluation.report import flat
from app.loading import loaded
from app.networks.weights import find
from app.performance.capacity import DEVICES, plan, text
from app.performance.fidelity import fidelity
from app.performance.load import service_load
from app.performance.scale import scale
from app.performance.speed import RIVALS, speed_of, table
from app.settings import Settings


def add_benchmarks(commands: Any) -> dict[str, argparse.ArgumentParser]:
    """Their parsers by name, without the service's options."""
    speed = commands.add_parser(
        "occlusion", help="the occlusion of one picture, against what people use"
    )
    speed.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    speed.add_argument("--precision", choices=["float32", "tf32", "float16"], default="float32")
    speed.add_argument(
        "--positions",
        type=int,
        default=729,
        metavar="N",
        help="at most so many boxes (default: %(default)s)",
    )
    speed.add_argument(
        "--rounds",
        type=int,
        default=3,
        metavar="N",
        help="each is timed so often, in turn (default: %(default)s)",
    )
    speed.add_argument(
        "--against",
        default=",".join(RIVALS),
        help="any of %(default)s, or nothing (default: %(default)s)",
    )
    speed.set_defaults(run=_speed)

    exact = commands.add_parser(
        "precision",
        help="what a precision changes against float32, and how many images a second it does",
    )
    exact.add_argument("--images", type=Path, required=True, metavar="DIR")
    exact.add_argument(
        "--limit",
        type=int,
        default=20,
        metavar="N",
        help="photographs drawn from it (default: %(default)s)",
    )
    exact.add_argument(
        "--queued",
        default="1,4,16",
        metavar="N,...",
        help="how many wait when speed is measured, or nothing (default: %(default)s)",
    )
    exact.add_argument("--precision", choices=["float32", "tf32", "float16"], default="float16")
    exact.set_defaults(run=_precision)

    load = commands.add_parser(
        "service", help="what the service costs on top of a device that sleeps"
    )
    load.add_argument(
        "--requests",
        type=int,
        default=500,
        metavar="N",
        help="answers for each number of callers (default: %(default)s)",
    )
    load.add_argument(
        "--device-ms",
        type=float,
        default=20.0,
        metavar="MS",
        help="that an image takes on it (default: %(default)s)",
    )
    load.set_defaults(run=_load)

    more = commands.add_parser(
        "scale", help="what more workers of a Ray cluster on this machine bring"
    )
    more.add_argument(
        "--images",
        required=True,
        metavar="SOURCE",
        help="photographs for the network, as for batch",
    )
    more.add_argument(
        "--device-ms",
        type=float,
        default=100.0,
        metavar="MS",
        help="of the device that sleeps (default: %(default)s)",
    )
    more.add_argument(
        "--count",
        type=int,
        default=200,
        metavar="N",
        help="images for each of its workers (default: %(default)s)",
    )
    more.add_argument(
        "--limit",
        type=int,
        default=32,
        metavar="N",
        help="photographs drawn from those (default: %(default)s)",
    )
    more.set_defaults(run=_scale)

    planned = commands.add_parser(
        "plan", help="what a collection or a rate of requests needs, by the recorded figures"
    )
    planned.add_argument(
        "--images",
        type=float,
        default=1e6,
        metavar="N",
        help="of the collection (default: %(default)g)",
    )
    planned.add_argument(
        "--gpu",
        choices=DEVICES,
        default="h200",
        help="cpu: two cores, the bundled network (default: %(default)s)",
    )
    planned.add_argument("--rate", type=float, metavar="N", help="requests a second")
    planned.add_argument(
        "--latency",
        type=float,
        metavar="S",
        help="seconds in which 95 %% are to be answered; ten times a photograph's if not given",
    )
    planned.add_argument(
        "--seconds-per-image", type=float, metavar="S", help="as measured on your device"
    )
    planned.set_defaults(run=_plan)
    return {"occlusion": speed, "precision": exact, "service": load, "scale": more, "plan": planned}


def _speed(args: argparse.Namespace, settings: Settings) -> int:
    against = [name for name in args.against.split(",") if name]
    if unknown := set(against) - set(RIVALS):
        return say(f"--against {', '.join(sorted(unknown))}: known are {', '.join(RIVALS)}", 2)
    entry = find(settings.manifest, args.network)
    found = speed_of(
        entry,
        args.positions,
        against,
        rounds=args.rounds,
        device=args.device,
        precision=args.precision,
    )
    show(args.json, found, table(found))
    return 0


def _precision(args: argparse.Namespace, settings: Settings) -> int:
    settings, paths = (
        settings.model_copy(update={"network": args.network}),
        sample(args.images, args.limit),
    )
    queued = [int(count) for count in args.queued.split(",") if count.isdecimal() and int(count)]
    exact, other = (
        loaded(settings.model_copy(update={"precision": each}))
        for each in ("float32", args.precision)
    )
    found = fidelity(exact, other, paths, args.options, queued, partial(bar, "precision"))
    show(args.json, found, flat(found))
    return 0


def _load(args: argparse.Namespace, settings: Settings) -> int:
    if args.requests < 1 or args.device_ms <= 0:
        return say(
            f"--requests is {args.requests} and --device-ms {args.device_ms}; both must be above 0",
            2,
        )
    found = service_load(settings, args.requests, args.device_ms)
    show(args.json, found, flat(found))
    return 0


def _scale(args: argparse.Namespace, settings: Settings) -> int:
    if args.device_ms <= 0 or min(args.count, args.limit) < 8:
        return say(
            f"--device-ms is {args.device_ms}, which must be above 0; --count {args.count} and --limit {args.limit}, 8 or more",
            2,
        )
    found = scale(
        settings, drawn(open_collection(args.images), args.limit), args.device_ms, args.count
    )
    show(args.json, found, flat(found))
    return 0


def _plan(args: argparse.Namespace, settings: Settings) -> int:
    wrong = [
        f"{value:g}"
        for value in (args.images, args.rate, args.latency, args.seconds_per_image)
        if value is not None and not value > 0
    ]
    if wrong:
        return say(f"{', '.join(wrong)}: what is planned with must be above 0", 2)
    found = plan(args.gpu, args.images, args.rate, args.latency, args.seconds_per_image)
    show(args.json, found, text(found))
    return 0
