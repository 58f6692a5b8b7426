"""From a request's photographs to named points, on the way that detections take."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.schemas.landmarks import NamedPointsFound, named_answer
from app.schemas.queries import LandmarksQuery
from app.service.answers import Answer, Delivery, timed
from app.service.intake.upload import Upload
from app.service.lifecycle import Service
from app.service.scheduling.photograph_request import PhotographRequest
from weakpoints.errors import BadAnnotations, BadOption, WeakpointsError
from weakpoints.landmarks.annotations import Annotations, Marked, check_inside, read_annotations
from weakpoints.landmarks.finder import Reference
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.learning import expected_accuracy
from weakpoints.landmarks.named import Describer, Named, NamedPoints, pattern_of
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
        taken = timed(self.service, clock)
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


def told(answer: NamedAnswer, delivery: NamedDelivery, request_id: str) -> NamedPointsFound:
    model = delivery.service.pipeline.detector.model
    return named_answer(answer.objects, model, request_id, answer.timing_ms)


async def learnt_from(delivery: Delivery[Any]) -> LandmarkSet:
    """The set of the references and annotations that came with a request.

    Raises BadAnnotations, naming the reference that is wrong.
    """
    annotations = _annotations(delivery)
    references = delivery.companions.get(REFERENCE, [])
    if not references:
        raise BadAnnotations(f"no photograph came in a part named {REFERENCE!r}")
    describer = Describer(delivery.service.pipeline.detector)
    by_name = {
        PurePosixPath(annotated.file_name).name: annotated for annotated in annotations.objects
    }
    known, objects = list[Reference](), list[Marked]()
    for upload in references:
        marked = _marked(upload, by_name)
        objects.append(marked)
        known.append(await reference_of(delivery, describer, upload, marked, annotations))
    pattern = pattern_of(annotations, known, describer.detector.model.sha256)
    sources = tuple(annotated.file_name for annotated in objects)
    return LandmarkSet(pattern, sources)


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


def _marked(upload: Upload, by_name: dict[str, Marked]) -> Marked:
    name = PurePosixPath(upload.filename or "").name
    if name not in by_name:
        known = ", ".join(map(repr, sorted(by_name)[:5]))
        raise BadAnnotations(
            f"the annotations have no marked landmark of reference {name!r}; they are of {known}",
            actual=name,
        )
    return by_name[name]


async def reference_of(
    delivery: Delivery[Any],
    describer: Describer,
    upload: Upload,
    marked: Marked,
    annotations: Annotations,
) -> Reference:
    """An annotated photograph. Raises BadAnnotations where it is none that can be used."""
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
            raise BadAnnotations(f"reference {marked.file_name!r}: {error.detail}") from error
        raise
    check_inside(marked, annotations.names, (size[0], size[1]), "the annotations")
    prepared, evidence = looks[0]
    descriptors = describer.descriptors(evidence)
    return describer.placed(descriptors, prepared.frame, marked.places, marked.marked)
