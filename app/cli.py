"""`weakpoints serve | detect | batch | weights | evaluate | benchmark`: results on stdout, all else on stderr; exit 1 if some input failed, 2 for wrong usage."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from tqdm import tqdm

from app import __version__
from app.batch import Engine, plain, run_batch
from app.cluster.start import Share, connected, require_ray
from app.collection import Reader, drawn, open_collection
from app.errors import BadOption, WeakpointsError
from app.evaluation.accuracy import accuracy
from app.evaluation.commands import STUDIES, Asked, add_studies
from app.evaluation.fidelity import fidelity
from app.evaluation.load import service_load
from app.evaluation.photographs import sample
from app.evaluation.plan import DEVICES, plan, text
from app.evaluation.report import flat
from app.evaluation.scale import scale
from app.evaluation.speed import RIVALS, speed_of, table
from app.image import decode
from app.logs import json_handler
from app.main import loaded
from app.options import Options
from app.pipeline import Detector
from app.render import heatmap_png
from app.schemas import DetectQuery, detection
from app.server import serve
from app.settings import Settings
from app.weights import Entry, find, pull, read_manifest, verify

T = TypeVar("T")


def main(arguments: list[str] | None = None) -> int:
    try:
        settings = Settings()
        parser = _parser(settings)
        args = parser.parse_args(arguments)
        args.options = _options(parser, args)
        status: int = args.run(args, settings)
        return status
    except (ValidationError, WeakpointsError) as error:
        return _say(str(error))
    except KeyboardInterrupt:
        return 130


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "weakpoints", description="Keypoints of the main object in a photograph, without any keypoint annotation."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="the REST service")
    serve.add_argument("--host", default=settings.host)
    serve.add_argument("--port", type=int, default=settings.port)
    _add_engine(serve)
    serve.set_defaults(run=_serve)

    detect = commands.add_parser("detect", help="keypoints of photographs")
    detect.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    detect.add_argument("--overlay", type=Path, metavar="DIR", help="write each photograph with its keypoints as a PNG here")
    _add_options(detect)
    detect.set_defaults(run=_detect)

    batch = commands.add_parser("batch", help="a collection of photographs into COCO keypoints and Parquet")
    batch.add_argument("source", metavar="SOURCE", help="folder, list of files (.txt) or COCO file (.json); a path or any URL of fsspec")
    batch.add_argument("--out", type=Path, required=True, metavar="DIR", help="keypoints.coco.json, keypoints.parquet, rows.jsonl")
    batch.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped, and try again what failed")
    _add_engine(batch)
    _add_options(batch)
    batch.set_defaults(run=_batch)

    weights = commands.add_parser("weights", help="list, fetch or check networks")
    weights.add_argument("action", choices=["list", "pull", "verify"])
    weights.add_argument(
        "names", nargs="*", metavar="NAME", help="networks of the manifest; verify checks all that are there if none is named"
    )
    weights.set_defaults(run=_weights)

    evaluate = commands.add_parser("evaluate", help="measure").add_subparsers(required=True, metavar="WHAT")
    classes = evaluate.add_parser("accuracy", help="top-1 and top-5 on a folder with one sub-folder a class")
    classes.add_argument("--images", type=Path, required=True, metavar="DIR")
    classes.set_defaults(run=_accuracy)

    studies = add_studies(evaluate)
    for command in studies:
        command.set_defaults(run=_study)
        _add_options(command)

    benchmark = commands.add_parser("benchmark", help="measure how fast").add_subparsers(required=True, metavar="WHAT")
    speed = benchmark.add_parser("occlusion", help="the occlusion of one picture, against what people use")
    speed.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    speed.add_argument("--precision", choices=["float32", "tf32", "float16"], default="float32")
    speed.add_argument("--positions", type=int, default=729, metavar="N", help="at most so many boxes (default: %(default)s)")
    speed.add_argument("--rounds", type=int, default=3, metavar="N", help="each is timed so often, in turn (default: %(default)s)")
    speed.add_argument("--against", default=",".join(RIVALS), help="any of %(default)s, or nothing (default: %(default)s)")
    speed.set_defaults(run=_speed)

    exact = benchmark.add_parser("precision", help="what a precision changes against float32, and how many images a second it does")
    exact.add_argument("--images", type=Path, required=True, metavar="DIR")
    exact.add_argument("--limit", type=int, default=20, metavar="N", help="photographs drawn from it (default: %(default)s)")
    exact.add_argument(
        "--queued", default="1,4,16", metavar="N,...", help="how many wait when speed is measured, or nothing (default: %(default)s)"
    )
    exact.add_argument("--precision", choices=["float32", "tf32", "float16"], default="float16")
    _add_options(exact)
    exact.set_defaults(run=_precision)

    load = benchmark.add_parser("service", help="what the service costs on top of a device that sleeps")
    load.add_argument("--requests", type=int, default=500, metavar="N", help="answers for each number of callers (default: %(default)s)")
    load.add_argument("--device-ms", type=float, default=20.0, metavar="MS", help="that an image takes on it (default: %(default)s)")
    load.set_defaults(run=_load)

    more = benchmark.add_parser("scale", help="what more workers of a Ray cluster on this machine bring")
    more.add_argument("--images", required=True, metavar="SOURCE", help="photographs for the network, as for batch")
    more.add_argument("--device-ms", type=float, default=100.0, metavar="MS", help="of the device that sleeps (default: %(default)s)")
    more.add_argument("--count", type=int, default=200, metavar="N", help="images for each of its workers (default: %(default)s)")
    more.add_argument("--limit", type=int, default=32, metavar="N", help="photographs drawn from those (default: %(default)s)")
    more.set_defaults(run=_scale)

    planned = benchmark.add_parser("plan", help="what a collection or a rate of requests needs, by the recorded figures")
    planned.add_argument("--images", type=float, default=1e6, metavar="N", help="of the collection (default: %(default)g)")
    planned.add_argument("--gpu", choices=DEVICES, default="h200", help="cpu: two cores, the bundled network (default: %(default)s)")
    planned.add_argument("--rate", type=float, metavar="N", help="requests a second")
    planned.add_argument(
        "--latency", type=float, metavar="S", help="seconds in which 95 %% are to be answered; ten times a photograph's if not given"
    )
    planned.add_argument("--seconds-per-image", type=float, metavar="S", help="as measured on your device")
    planned.set_defaults(run=_plan)

    for command in (detect, batch, weights, classes, speed, exact, load, more, planned, *studies):
        command.add_argument("--json", action="store_true", help="print JSON")
    for command in (detect, batch, classes, speed, exact, *studies):
        command.add_argument("--network", default=settings.network, help="a network of the manifest (default: %(default)s)")
    return parser


def _add_engine(parser: argparse.ArgumentParser) -> None:
    """One process here, or workers on a Ray cluster."""
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--engine", choices=["plain", "ray"], default="plain", help="ray: on the cluster of RAY_ADDRESS, or one started here"
    )
    group.add_argument("--workers", type=int, default=1, metavar="N", help="Ray: so many, each with its own network (default: %(default)s)")
    group.add_argument("--cpus", type=float, default=1.0, metavar="N", help="Ray: cores for each (default: %(default)g)")
    group.add_argument("--gpus", type=float, default=0.0, metavar="N", help="Ray: GPUs for each, 0.5 is half of one (default: %(default)g)")


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Every option of the service, as a flag."""
    group = parser.add_argument_group("options, the same as the service's")
    for name, field in DetectQuery.model_fields.items():
        group.add_argument(f"--{name.replace('_', '-')}", help=field.description, metavar="VALUE")


def _options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Options | None:
    if not hasattr(args, "preset"):
        return None
    try:
        query = DetectQuery(**{name: getattr(args, name) for name in DetectQuery.model_fields})
        options: Options = query.options()
        return options
    except ValidationError as error:
        first = error.errors()[0]
        parser.error(f"--{str(first['loc'][0]).replace('_', '-')} {first['input']}: {first['msg']}")


def _detector(args: argparse.Namespace, settings: Settings) -> Detector:
    return loaded(settings.model_copy(update={"network": args.network}))


def _serve(args: argparse.Namespace, settings: Settings) -> int:
    logging.basicConfig(level=logging.INFO, handlers=[json_handler()])
    settings = settings.model_copy(update={"host": args.host, "port": args.port})
    if args.engine == "plain":
        return serve(settings)
    require_ray()
    from app.cluster.serving import serve_with_ray

    return serve_with_ray(settings, Share(args.workers, args.cpus, args.gpus))


def _detect(args: argparse.Namespace, settings: Settings) -> int:
    detector, failed = _detector(args, settings), 0
    for path in args.images:
        try:
            image = decode(path.read_bytes(), settings.limits)
            found = detector.locate(image, args.options)
        except (WeakpointsError, OSError) as error:
            failed = _say(f"{path}: {error}")
            continue
        answer = detection(found, detector.model, path.name, dict(found.timing_ms))
        if args.overlay:
            args.overlay.mkdir(parents=True, exist_ok=True)
            png, _ = heatmap_png(image, found, which="fused", style="overlay", keypoints=True, size="image")
            (args.overlay / f"{path.stem}.png").write_bytes(png)
        if args.json:
            print(json.dumps({"file": str(path), **answer.model_dump()}))
        else:
            print(f"{path}: {answer.prediction.label} ({answer.prediction.probability:.2f}), {len(answer.keypoints)} keypoints")
            for p in answer.keypoints:
                print(f"  {p.x:9.2f} {p.y:9.2f}  confidence {p.confidence:.3f}{'' if p.refined else '  (not refined)'}")
    return failed


def _batch(args: argparse.Namespace, settings: Settings) -> int:
    try:
        collection = open_collection(args.source)
    except BadOption as error:
        return _say(str(error), 2)
    detector = _detector(args, settings)
    with connected() if args.engine == "ray" else nullcontext():
        engine = _engine(args, settings, detector, collection.reader)
        progress = partial(_bar, "detect")
        summary = run_batch(engine, detector.model, args.options, collection, args.out, resume=args.resume, progress=progress)
    for failure in summary.failures:
        _say(failure)
    text = f"{args.out}: {summary.done} done, {summary.skipped} done before, {summary.failed} failed"
    _print(args.json, asdict(summary), text)
    return 1 if summary.failed else 0


def _engine(args: argparse.Namespace, settings: Settings, detector: Detector, reader: Reader) -> Engine:
    if args.engine == "plain":
        return plain(detector, reader, args.options, settings.limits)
    from app.cluster.data import on_ray

    load = partial(loaded, settings.model_copy(update={"network": args.network}))
    return on_ray(load, Share(args.workers, args.cpus, args.gpus), reader, args.options, settings.limits)


def _weights(args: argparse.Namespace, settings: Settings) -> int:
    entries = read_manifest(settings.manifest)
    unknown = [name for name in args.names if name not in entries]
    if unknown or (args.action == "pull" and not args.names):
        return _say(f"no such network: {', '.join(unknown) or 'name one'}; there are {', '.join(entries)}", 2)
    chosen = [entries[name] for name in args.names] or [e for e in entries.values() if args.action == "list" or e.path.exists()]
    act: dict[str, Callable[[Entry], object]] = {"list": lambda entry: None, "pull": pull, "verify": verify}
    rows, failed = [], 0
    for entry in chosen:
        try:
            act[args.action](entry)
            state = "here" if entry.path.exists() else "not pulled"
        except WeakpointsError as error:
            state, failed = "failed", _say(str(error))
        rows.append(
            {"name": entry.name, "architecture": entry.architecture, "side": entry.side, "labels": len(entry.labels), "state": state}
        )
    _print(args.json, rows, "\n".join("{name:10} {architecture:10} {side:4} px {labels:5} classes  {state}".format(**row) for row in rows))
    return failed


def _accuracy(args: argparse.Namespace, settings: Settings) -> int:
    if not args.images.is_dir():
        return _say(f"{args.images} is not a folder", 2)
    found = accuracy(_detector(args, settings), args.images, partial(_bar, "classify"))
    for failure in found.failed:
        _say(failure)
    text = f"top-1 {found.top1:.4f}, top-5 {found.top5:.4f} on {found.images} photographs; top-1 as a mean over classes {found.top1_per_class:.4f}"
    _print(args.json, asdict(found), text)
    return 1 if found.failed else 0


def _study(args: argparse.Namespace, settings: Settings) -> int:
    asked = Asked(args, _bar)
    if wrong := asked.wrong():
        return _say(wrong, 2)
    if args.study == "networks":
        here = [name for name, entry in read_manifest(settings.manifest).items() if entry.path.exists()]
        found, detector = {"networks": asked.compare(loaded(settings.model_copy(update={"network": name})) for name in here)}, None
    else:
        detector = _detector(args, settings)
        found = {study: asked.measure(study, detector) for study in (("landmarks", *STUDIES) if args.study == "report" else (args.study,))}
    if path := args.out / "report.html" if args.study == "report" else args.html:
        path.write_text(asked.page(detector.model.name if detector else "networks", found, detector))
    if args.study == "report":
        _print(args.json, found, str(path))
    else:
        _print(args.json, found[args.study], flat(found[args.study]))
    return 0


def _speed(args: argparse.Namespace, settings: Settings) -> int:
    against = [name for name in args.against.split(",") if name]
    if unknown := set(against) - set(RIVALS):
        return _say(f"--against {', '.join(sorted(unknown))}: known are {', '.join(RIVALS)}", 2)
    entry = find(settings.manifest, args.network)
    found = speed_of(entry, args.positions, against, rounds=args.rounds, device=args.device, precision=args.precision)
    _print(args.json, found, table(found))
    return 0


def _precision(args: argparse.Namespace, settings: Settings) -> int:
    settings, paths = settings.model_copy(update={"network": args.network}), sample(args.images, args.limit)
    queued = [int(count) for count in args.queued.split(",") if count.isdecimal() and int(count)]
    exact, other = (loaded(settings.model_copy(update={"precision": each})) for each in ("float32", args.precision))
    found = fidelity(exact, other, paths, args.options, queued, partial(_bar, "precision"))
    _print(args.json, found, flat(found))
    return 0


def _load(args: argparse.Namespace, settings: Settings) -> int:
    if args.requests < 1 or args.device_ms <= 0:
        return _say(f"--requests is {args.requests} and --device-ms {args.device_ms}; both must be above 0", 2)
    found = service_load(settings, args.requests, args.device_ms)
    _print(args.json, found, flat(found))
    return 0


def _scale(args: argparse.Namespace, settings: Settings) -> int:
    if args.device_ms <= 0 or min(args.count, args.limit) < 8:
        return _say(f"--device-ms is {args.device_ms}, which must be above 0; --count {args.count} and --limit {args.limit}, 8 or more", 2)
    found = scale(settings, drawn(open_collection(args.images), args.limit), args.device_ms, args.count)
    _print(args.json, found, flat(found))
    return 0


def _plan(args: argparse.Namespace, settings: Settings) -> int:
    wrong = [
        f"{value:g}" for value in (args.images, args.rate, args.latency, args.seconds_per_image) if value is not None and not value > 0
    ]
    if wrong:
        return _say(f"{', '.join(wrong)}: what is planned with must be above 0", 2)
    found = plan(args.gpu, args.images, args.rate, args.latency, args.seconds_per_image)
    _print(args.json, found, text(found))
    return 0


def _bar(what: str, items: Iterable[T], total: int | None = None) -> Iterable[T]:
    return tqdm(items, desc=what, total=total, file=sys.stderr)


def _print(as_json: bool, value: Any, text: str) -> None:
    print(json.dumps(value) if as_json else text)


def _say(message: str, status: int = 1) -> int:
    print(f"weakpoints: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
