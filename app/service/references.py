"""From annotated photographs of a caller to a landmark set, or to what one is made of."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.service.answers import Delivery, photograph_request
from app.service.http.deadlines import Caller
from app.service.intake.upload import Upload
from app.service.lifecycle import service_of
from weakpoints.errors import BadAnnotations, WeakpointsError
from weakpoints.landmarks.annotations import Annotations, Marked, check_inside, read_annotations
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.learning import check_count, expected_accuracy
from weakpoints.landmarks.matching import Reference
from weakpoints.landmarks.named import pattern_of
from weakpoints.method.stages import Prepared
from weakpoints.method.stopwatch import Stopwatch
from weakpoints.options import choose

Image = NDArray[np.uint8]
REFERENCE, ANNOTATIONS = "reference", "annotations"


async def learnt_from(delivery: Delivery[Any]) -> LandmarkSet:
    """The set of the references and annotations that came with a request.

    Raises BadAnnotations, naming the reference that is wrong.
    """
    annotations = _annotations(delivery)
    uploads = delivery.companions.get(REFERENCE, [])
    if not uploads:
        raise BadAnnotations(f"no photograph came in a part named {REFERENCE!r}")
    _check_names(uploads)
    service = delivery.service
    model, limit = service.pipeline.detector.model, service.settings.max_references
    known, sources = list[Reference](), list[str]()
    for upload in uploads:
        objects = _objects_of(upload, annotations.objects)
        check_count(len(known) + len(objects), limit)
        known += await references_of(delivery.caller, upload, objects, annotations)
        sources += [marked.file_name for marked in objects]
    pattern = pattern_of(annotations, known, model.sha256)
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
    caller: Caller,
    upload: Upload,
    objects: Sequence[Marked],
    annotations: Annotations,
) -> list[Reference]:
    """The annotated objects of one photograph, which is looked at once.

    Raises BadAnnotations where it is none that can be used.
    """
    service, options, size = service_of(caller.request), choose(), [0, 0]
    pipeline, describer = service.pipeline, service.describer

    def prepare(image: Image) -> list[Prepared]:
        size[:] = image.shape[1], image.shape[0]
        return [describer.prepare(image, options, Stopwatch())]

    try:
        with upload as data:
            request = photograph_request(caller, data, options)
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
