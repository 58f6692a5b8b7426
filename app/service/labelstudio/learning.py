"""From what was annotated in a project to what finds its points."""

import logging
from typing import Any

from app.service.http.deadlines import Caller
from app.service.labelstudio.configuration import Configuration
from app.service.labelstudio.projects import Project, places_of
from app.service.labelstudio.studio import LabelStudio
from app.service.lifecycle import service_of
from app.service.references import references_of
from weakpoints.errors import BadAnnotations, BadLandmarkSet, WeakpointsError
from weakpoints.landmarks.annotations import Annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.landmarks.matching import Reference
from weakpoints.landmarks.named import NamedPoints, pattern_of

log = logging.getLogger("weakpoints")


async def finder_of(
    number: str, studio: LabelStudio, configuration: Configuration, caller: Caller
) -> NamedPoints | None:
    """None where nothing was annotated yet. Raises BadAnnotations where none of it can be used."""
    project = studio.projects.get(number)
    describer = service_of(caller.request).describer
    async with project.learning:
        annotations = project.annotations()
        if annotations is None:
            return await _kept(number, studio, describer)
        digest = project.digest
        references = await _reference_photographs(
            project, annotations, studio, configuration, caller
        )
        pattern = pattern_of(
            annotations, list(references.values()), describer.detector.model.sha256
        )
        if digest == project.digest:  # no annotation came meanwhile
            sources = tuple(f"task {task}" for task, *_ in references)
            await studio.keep(number, project, LandmarkSet(pattern, sources))
    return NamedPoints(describer, pattern)


async def _kept(number: str, studio: LabelStudio, describer: Describer) -> NamedPoints | None:
    kept = await studio.kept_set(number)
    try:
        return None if kept is None else NamedPoints(describer, kept.pattern)
    except BadLandmarkSet:  # of another network
        return None


async def _reference_photographs(
    project: Project,
    annotations: Annotations,
    studio: LabelStudio,
    configuration: Configuration,
    caller: Caller,
) -> dict[Any, Reference]:
    """By what they are made of, a task's number first; those described already are not again.

    Raises BadAnnotations where there is none.
    """
    service = service_of(caller.request)
    used, wrong = dict[Any, Reference](), ""
    most = service.settings.max_references
    for task in reversed(list(project.tasks.values())):  # the latest first
        for i, marked in enumerate(places_of(annotations, task)):
            if len(used) == most:
                break
            key = task.number, task.digest, i, annotations.names
            known = project.references.get(key)
            if known is None:
                address = task.data.get(configuration.data)
                try:
                    with service.pipeline.place(caller.name) as place:
                        upload = await studio.photograph(address, task.number, place)
                        (known,) = await references_of(caller, upload, [marked], annotations)
                except BadAnnotations as error:
                    wrong = error.detail
                except WeakpointsError as error:
                    if error.status in (429, 503, 504):
                        raise  # it may be there a moment later
                    wrong = f"task {task.number}: {error.detail}"
            if known is None:
                log.warning("an annotated photograph of Label Studio: %s", wrong)
            else:
                used[key] = project.references[key] = known
    project.references = used
    if not used:
        raise BadAnnotations(f"none of the annotated photographs can be used: {wrong}")
    return used
