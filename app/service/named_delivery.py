"""From a request's photographs to named points, on the way that detections take."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from app.schemas.landmarks import NamedPointsFound, named_answer
from app.schemas.queries import LandmarksQuery
from app.service.answers import Answer, Delivery, record_timing
from app.service.intake.upload import Upload
from app.service.lifecycle import Service, service_of
from app.service.scheduling.photographs import PhotographRequest
from weakpoints.errors import BadAnnotations, BadOption, WeakpointsError
from weakpoints.landmarks.annotations import Annotations, Marked, check_inside, read_annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.learning import check_count, expected_accuracy
from weakpoints.landmarks.matching import Reference
from weakpoints.landmarks.named import Named, NamedPoints, pattern_of
from weakpoints.method.stages import Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import Options, choose
from weakpoints.progress import Progress, no_progress

Image = NDArray[np.uint8]
REFERENCE, ANNOTATIONS = "reference", "annotations"


@dataclass(frozen=True)
class NamedAnswer(Answer):
    """The objects of one photograph."""

    objects: tuple[Named, ...] = ()


@dataclass(frozen=True)
class NamedDelivery(Delivery[LandmarksQuery]):
    """Photographs on which the landmarks of a set are looked for."""

    finder: NamedPoints

    async def answer(
        self,
        upload: Upload,
        reserved: ExitStack,
        progress: Progress = no_progress,
        pixels: bool = False,
    ) -> NamedAnswer:
        """One photograph, decoded and looked at. Raises WeakpointsError."""
        clock = replace(self.clock, laps=[*self.clock.laps])
        with upload as data:
            options = self.service.pipeline.detector.resolved(self.query.options())
            photograph = PhotographRequest(data, options, clock, self.who, self.caller.end)
            objects = await named_on(
                self.service, self.finder, photograph, self.query.objects(), progress
            )
        taken = record_timing(self.service, clock)
        return NamedAnswer(None, None, False, taken, objects)  # type: ignore[arg-type]


async def named_on(
    service: Service,
    finder: NamedPoints,
    photograph: PhotographRequest,
    objects: Sequence[Options],
    progress: Progress = no_progress,
) -> tuple[Named, ...]:
    """The landmarks of each object of one photograph. Raises WeakpointsError."""
    pipeline = service.pipeline

    def prepare(image: Image) -> list[Prepared]:
        clocks = [photograph.clock, *(Stopwatch() for _ in objects[1:])]
        pairs = zip(objects, clocks, strict=True)
        return [finder.describer.prepare(image, *pair) for pair in pairs]

    looks = await pipeline.look_at_all(photograph, prepare)

    def name(stop_if_gone: Progress) -> tuple[Named, ...]:
        def both(stage: str, done: int, total: int) -> None:
            stop_if_gone(stage, done, total)
            progress(stage, done, total)

        return tuple(
            finder.named(*look, options, both) for look, options in zip(looks, objects, strict=True)
        )

    return await pipeline.on_thread(photograph.caller, name)


def with_finder(delivery: Delivery[LandmarksQuery], finder: NamedPoints) -> NamedDelivery:
    return NamedDelivery(
        delivery.query,
        delivery.options,
        delivery.uploads,
        delivery.companions,
        delivery.service,
        delivery.caller,
        delivery.who,
        delivery.clock,
        finder,
    )


def check_objects(query: LandmarksQuery, limit: int) -> None:
    """Raises BadOption where `roi` is given more often than allowed."""
    if len(query.objects()) > limit:
        raise BadOption(
            f"roi is given {len(query.objects())} times; at most {limit} are looked at",
            option="roi",
            limit=limit,
            actual=len(query.objects()),
        )


def named_points_of(request: Request, answer: NamedAnswer) -> NamedPointsFound:
    """The JSON of one answer."""
    model = service_of(request).pipeline.detector.model
    return named_answer(answer.objects, model, request.state.request_id, answer.timing_ms)


async def learnt_from(delivery: Delivery[Any]) -> LandmarkSet:
    """The set of the references and annotations that came with a request.

    Raises BadAnnotations, naming the reference that is wrong.
    """
    annotations = _annotations(delivery)
    uploads = delivery.companions.get(REFERENCE, [])
    if not uploads:
        raise BadAnnotations(f"no photograph came in a part named {REFERENCE!r}")
    _check_names(uploads)
    describer, limit = delivery.service.describer, delivery.service.settings.max_references
    known, sources = list[Reference](), list[str]()
    for upload in uploads:
        objects = _objects_of(upload, annotations.objects)
        check_count(len(known) + len(objects), limit)
        known += await references_of(delivery, describer, upload, objects, annotations)
        sources += [marked.file_name for marked in objects]
    pattern = pattern_of(annotations, known, describer.detector.model.sha256)
    return LandmarkSet(pattern, tuple(sources))


def with_expectation(learnt: LandmarkSet) -> LandmarkSet:
    """The same with what each landmark may be expected to reach, by leaving one out."""
    references = learnt.pattern.references
    return replace(learnt, expected=expected_accuracy(references, range(len(references))))


def _annotations(delivery: Delivery[Any]) -> Annotations:
    sent = delivery.companions.get(ANNOTATIONS, [])
    if not sent:
        raise BadAnnotations(f"no COCO keypoints came in a part named {ANNOTATIONS!r}")
    with sent[0] as data:
        return read_annotations(data, "the annotations")


def _check_names(uploads: Sequence[Upload]) -> None:
    """Raises BadAnnotations where two photographs have one name: which of them is annotated?"""
    names = [_name_of(upload) for upload in uploads]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadAnnotations(f"two references are called {twice!r}", actual=twice)


def _objects_of(upload: Upload, objects: Sequence[Marked]) -> list[Marked]:
    """What is annotated on a photograph. Browsers send a name without its folders."""
    name = _name_of(upload)
    own = [marked for marked in objects if PurePosixPath(marked.file_name).name == name]
    if not own:
        known = ", ".join(map(repr, sorted({marked.file_name for marked in objects})[:5]))
        raise BadAnnotations(
            f"the annotations have no marked landmark of reference {name!r}; they are of {known}",
            actual=name,
        )
    if len(paths := sorted({marked.file_name for marked in own})) > 1:
        raise BadAnnotations(
            f"the annotations have several photographs called {name!r}: "
            f"{', '.join(map(repr, paths[:5]))}; send them under names of their own",
            actual=name,
        )
    return own


def _name_of(upload: Upload) -> str:
    return PurePosixPath(upload.filename or "").name


async def references_of(
    delivery: Delivery[Any],
    describer: Describer,
    upload: Upload,
    objects: Sequence[Marked],
    annotations: Annotations,
) -> list[Reference]:
    """The annotated objects of one photograph, which is looked at once.

    Raises BadAnnotations where it is none that can be used.
    """
    clock, options, size = Stopwatch(), choose(), [0, 0]

    def prepare(image: Image) -> list[Prepared]:
        size[:] = image.shape[1], image.shape[0]
        return [describer.prepare(image, options, clock)]

    pipeline = delivery.service.pipeline
    try:
        with upload as data:
            resolved = describer.detector.resolved(options)
            request = PhotographRequest(data, resolved, clock, delivery.who, delivery.caller.end)
            looks = await pipeline.look_at_all(request, prepare)
    except WeakpointsError as error:
        if error.status in (413, 415, 422):
            name = objects[0].file_name
            raise BadAnnotations(f"reference {name!r}: {error.detail}", **error.figures) from error
        raise
    for marked in objects:
        check_inside(marked, annotations.names, (size[0], size[1]), "the annotations")
    prepared, evidence = looks[0]
    descriptors = describer.descriptors(evidence)
    return [
        describer.placed(descriptors, prepared.frame, marked.places, marked.marked)
        for marked in objects
    ]
