"""`weakpoints serve | detect | batch | weights | evaluate | benchmark`: results on stdout, all else on stderr; exit 1 if some input failed, 2 for wrong usage."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from app import __version__
from app.batch.collection import Reader, open_collection
from app.batch.run import Engine, plain, run_batch
from app.cli.benchmarks import add_benchmarks
from app.cli.studies import STUDIES, Asked, add_studies
from app.cli.terminal import bar, say, show
from app.cluster.start import Share, connected, require_ray
from app.errors import BadOption, WeakpointsError
from app.evaluation.accuracy import accuracy
from app.evaluation.report import flat
from app.loading import loaded
from app.method.detector import Detector
from app.method.image import decode
from app.method.render import heatmap_png
from app.networks.weights import Entry, pull, read_manifest, verify
from app.options import Options
from app.schemas import DetectQuery, detection
from app.service.logs import json_handler
from app.service.server import serve
from app.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    try:
        settings = Settings()
        parser = _parser(settings)
        args = parser.parse_args(arguments)
        args.options = _options(parser, args)
        status: int = args.run(args, settings)
        sys.stdout.flush()
        return status
    except (ValidationError, WeakpointsError) as error:
        return say(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read it has had enough, as `head` does
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or Python would try once more when it ends
        return 141  # what a shell says of a process that SIGPIPE ended


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "weakpoints",
        description="Keypoints of the main object in a photograph, without any keypoint annotation.",
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
    detect.add_argument(
        "--overlay",
        type=Path,
        metavar="DIR",
        help="write each photograph with its keypoints as a PNG here",
    )
    _add_options(detect)
    detect.set_defaults(run=_detect)

    batch = commands.add_parser(
        "batch", help="a collection of photographs into COCO keypoints and Parquet"
    )
    batch.add_argument(
        "source",
        metavar="SOURCE",
        help="folder, list of files (.txt) or COCO file (.json); a path or any URL of fsspec",
    )
    batch.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="keypoints.coco.json, keypoints.parquet, rows.jsonl",
    )
    batch.add_argument(
        "--resume",
        action="store_true",
        help="go on where an interrupted run stopped, and try again what failed",
    )
    _add_engine(batch)
    _add_options(batch)
    batch.set_defaults(run=_batch)

    weights = commands.add_parser("weights", help="list, fetch or check networks")
    weights.add_argument("action", choices=["list", "pull", "verify"])
    weights.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="networks of the manifest; verify checks all that are there if none is named",
    )
    weights.set_defaults(run=_weights)

    evaluate = commands.add_parser("evaluate", help="measure").add_subparsers(
        required=True, metavar="WHAT"
    )
    classes = evaluate.add_parser(
        "accuracy", help="top-1 and top-5 on a folder with one sub-folder a class"
    )
    classes.add_argument("--images", type=Path, required=True, metavar="DIR")
    classes.set_defaults(run=_accuracy)

    studies = add_studies(evaluate)
    for command in studies:
        command.set_defaults(run=_study)
        _add_options(command)

    benchmark = commands.add_parser("benchmark", help="measure how fast").add_subparsers(
        required=True, metavar="WHAT"
    )
    benchmarks = add_benchmarks(benchmark)
    _add_options(benchmarks["precision"])

    for command in (detect, batch, weights, classes, *benchmarks.values(), *studies):
        command.add_argument("--json", action="store_true", help="print JSON")
    for command in (
        detect,
        batch,
        classes,
        benchmarks["occlusion"],
        benchmarks["precision"],
        *studies,
    ):
        command.add_argument(
            "--network",
            default=settings.network,
            help="a network of the manifest (default: %(default)s)",
        )
    return parser


def _add_engine(parser: argparse.ArgumentParser) -> None:
    """One process here, or workers on a Ray cluster."""
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--engine",
        choices=["plain", "ray"],
        default="plain",
        help="ray: on the cluster of RAY_ADDRESS, or one started here",
    )
    group.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="Ray: so many, each with its own network (default: %(default)s)",
    )
    group.add_argument(
        "--cpus",
        type=float,
        default=1.0,
        metavar="N",
        help="Ray: cores for each (default: %(default)g)",
    )
    group.add_argument(
        "--gpus",
        type=float,
        default=0.0,
        metavar="N",
        help="Ray: GPUs for each, 0.5 is half of one (default: %(default)g)",
    )


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
            failed = say(f"{path}: {error}")
            continue
        answer = detection(found, detector.model, path.name, dict(found.timing_ms))
        if args.overlay:
            args.overlay.mkdir(parents=True, exist_ok=True)
            png, _ = heatmap_png(
                image, found, which="fused", style="overlay", keypoints=True, size="image"
            )
            (args.overlay / f"{path.stem}.png").write_bytes(png)
        if args.json:
            print(json.dumps({"file": str(path), **answer.model_dump()}))
        else:
            print(
                f"{path}: {answer.prediction.label} ({answer.prediction.probability:.2f}), {len(answer.keypoints)} keypoints"
            )
            for p in answer.keypoints:
                print(
                    f"  {p.x:9.2f} {p.y:9.2f}  confidence {p.confidence:.3f}{'' if p.refined else '  (not refined)'}"
                )
    return failed


def _batch(args: argparse.Namespace, settings: Settings) -> int:
    try:
        collection = open_collection(args.source)
    except BadOption as error:
        return say(str(error), 2)
    detector = _detector(args, settings)
    with connected() if args.engine == "ray" else nullcontext():
        engine = _engine(args, settings, detector, collection.reader)
        progress = partial(bar, "detect")
        summary = run_batch(
            engine,
            detector.model,
            args.options,
            collection,
            args.out,
            resume=args.resume,
            progress=progress,
        )
    for failure in summary.failures:
        say(failure)
    text = (
        f"{args.out}: {summary.done} done, {summary.skipped} done before, {summary.failed} failed"
    )
    show(args.json, asdict(summary), text)
    return 1 if summary.failed else 0


def _engine(
    args: argparse.Namespace, settings: Settings, detector: Detector, reader: Reader
) -> Engine:
    if args.engine == "plain":
        return plain(detector, reader, args.options, settings.limits)
    from app.cluster.data import on_ray

    load = partial(loaded, settings.model_copy(update={"network": args.network}))
    return on_ray(
        load, Share(args.workers, args.cpus, args.gpus), reader, args.options, settings.limits
    )


def _weights(args: argparse.Namespace, settings: Settings) -> int:
    entries = read_manifest(settings.manifest)
    unknown = [name for name in args.names if name not in entries]
    if unknown or (args.action == "pull" and not args.names):
        return say(
            f"no such network: {', '.join(unknown) or 'name one'}; there are {', '.join(entries)}",
            2,
        )
    chosen = [entries[name] for name in args.names] or [
        e for e in entries.values() if args.action == "list" or e.path.exists()
    ]
    act: dict[str, Callable[[Entry], object]] = {
        "list": lambda entry: None,
        "pull": pull,
        "verify": verify,
    }
    rows, failed = [], 0
    for entry in chosen:
        try:
            act[args.action](entry)
            state = "here" if entry.path.exists() else "not pulled"
        except WeakpointsError as error:
            state, failed = "failed", say(str(error))
        rows.append(
            {
                "name": entry.name,
                "architecture": entry.architecture,
                "side": entry.side,
                "labels": len(entry.labels),
                "state": state,
            }
        )
    show(
        args.json,
        rows,
        "\n".join(
            "{name:10} {architecture:10} {side:4} px {labels:5} classes  {state}".format(**row)
            for row in rows
        ),
    )
    return failed


def _accuracy(args: argparse.Namespace, settings: Settings) -> int:
    if not args.images.is_dir():
        return say(f"{args.images} is not a folder", 2)
    found = accuracy(_detector(args, settings), args.images, partial(bar, "classify"))
    for failure in found.failed:
        say(failure)
    text = f"top-1 {found.top1:.4f}, top-5 {found.top5:.4f} on {found.images} photographs; top-1 as a mean over classes {found.top1_per_class:.4f}"
    show(args.json, asdict(found), text)
    return 1 if found.failed else 0


def _study(args: argparse.Namespace, settings: Settings) -> int:
    asked = Asked(args, bar)
    if wrong := asked.wrong():
        return say(wrong, 2)
    if args.study == "networks":
        here = [
            name for name, entry in read_manifest(settings.manifest).items() if entry.path.exists()
        ]
        found, detector = (
            {
                "networks": asked.compare(
                    loaded(settings.model_copy(update={"network": name})) for name in here
                )
            },
            None,
        )
    else:
        detector = _detector(args, settings)
        found = {
            study: asked.measure(study, detector)
            for study in (("landmarks", *STUDIES) if args.study == "report" else (args.study,))
        }
    if path := args.out / "report.html" if args.study == "report" else args.html:
        path.write_text(
            asked.page(detector.model.name if detector else "networks", found, detector)
        )
    if args.study == "report":
        show(args.json, found, str(path))
    else:
        show(args.json, found[args.study], flat(found[args.study]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
