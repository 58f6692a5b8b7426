"""What was annotated in each project, as it comes; few projects, and few tasks of each."""

import asyncio
import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from app.service.labelstudio.addresses import LONGEST_URL
from weakpoints.errors import BadAnnotations
from weakpoints.landmarks.annotations import Annotations, Marked, categories_of
from weakpoints.landmarks.exports.as_coco import Exported, as_coco
from weakpoints.landmarks.exports.labelstudio import is_keypoint, objects_of_result
from weakpoints.landmarks.matching import Reference

PROJECTS = 4  # in memory; of another one, what was annotated longest ago is forgotten
OBJECTS = 16  # of one task
MOST_TASK_POINTS = 256  # of one task
FIELDS = 20  # of a task's data


@dataclass(frozen=True)
class AnnotatedTask:
    """annotation: its number, -1 where it has none. digest: of all of it.

    data: the task's texts, one of them the address of its photograph.
    """

    number: int
    annotation: int
    data: Mapping[str, Any]
    objects: tuple[Exported, ...]
    digest: str


@dataclass
class Project:
    """tasks: by number, the latest last. references: described already, by what they are made of.

    reading: asks Label Studio for what is annotated already; None: nobody has. saved: digest of
    what was kept as a landmark set.
    """

    tasks: OrderedDict[int, AnnotatedTask] = field(default_factory=OrderedDict)
    references: dict[Any, Reference] = field(default_factory=dict)
    learning: anyio.Lock = field(default_factory=anyio.Lock)
    reading: asyncio.Task[None] | None = None
    config: str = "none"  # digest of its labelling configuration
    saved: str = ""

    @property
    def digest(self) -> str:
        """Of all that is learnt from; "" if there is nothing."""
        if not self.tasks:
            return ""
        digests = sorted(task.digest for task in self.tasks.values())
        return hashlib.sha256("".join(digests).encode()).hexdigest()[:8]

    def annotations(self) -> Annotations | None:
        """All objects of the category that has most; None where there is none.

        Raises BadAnnotations. A photograph is called by its task's number.
        """
        objects = [thing for task in self.tasks.values() for thing in task.objects]
        if not objects:
            return None
        counts = Counter(thing.category for thing in objects)
        category = counts.most_common(1)[0][0]
        mine = [thing for thing in objects if thing.category == category]
        return categories_of(as_coco(mine, {}), "the project's annotations")[0]


class Projects:
    """By number. For one event loop."""

    def __init__(self, most: int) -> None:
        """most: annotated tasks of a project, the latest."""
        self._most = most
        self._projects: OrderedDict[str, Project] = OrderedDict()

    def get(self, number: str) -> Project:
        project = self._projects.setdefault(number, Project())
        self._projects.move_to_end(number)
        while len(self._projects) > PROJECTS:
            self._projects.popitem(last=False)
        return project

    def learn(self, number: str, task: Any, annotation: Any) -> None:
        """An annotation that was made or changed. Raises BadAnnotations for what is none."""
        annotated = annotated_task(task, annotation)
        project = self.get(number)
        if not annotated.objects:  # all of its points were taken away
            project.tasks.pop(annotated.number, None)
            return
        project.tasks[annotated.number] = annotated
        project.tasks.move_to_end(annotated.number)
        while len(project.tasks) > self._most:
            project.tasks.popitem(last=False)

    def forget(self, number: str, annotations: Sequence[int]) -> None:
        """Annotations that were deleted, by their numbers."""
        project = self.get(number)
        for task in list(project.tasks.values()):
            if task.annotation in annotations:
                del project.tasks[task.number]


def annotated_task(task: Any, annotation: Any) -> AnnotatedTask:
    """Raises BadAnnotations."""
    number = task.get("id") if isinstance(task, dict) else None
    data = task.get("data") if isinstance(task, dict) else None
    if type(number) is not int or not isinstance(data, dict) or not isinstance(annotation, dict):
        raise BadAnnotations("a task with `id` and `data`, and an annotation are expected")
    regions = annotation.get("result")
    listed = regions if isinstance(regions, list) else []
    known = [region for region in listed if isinstance(region, dict)]
    if sum(is_keypoint(region) for region in known) > MOST_TASK_POINTS:
        raise BadAnnotations(
            f"task {number} has more than {MOST_TASK_POINTS} points",
            limit=MOST_TASK_POINTS,
            actual=len(known),
        )
    objects: tuple[Exported, ...] = ()
    if not annotation.get("was_cancelled"):
        objects = tuple(objects_of_result(known, str(number), f"task {number}"))[:OBJECTS]
    if objects:
        categories_of(
            as_coco(objects, {}), f"task {number}"
        )  # checked alone: a wrong one is not kept
    kept = {
        name: text
        for name, text in data.items()
        if isinstance(text, str) and len(name) + len(text) <= LONGEST_URL
    }
    kept = dict(list(kept.items())[:FIELDS])
    content = json.dumps([number, sorted(map(repr, objects)), kept], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    which = annotation.get("id")
    return AnnotatedTask(number, which if type(which) is int else -1, kept, objects, digest)


def places_of(annotations: Annotations, task: AnnotatedTask) -> list[Marked]:
    """The objects of one task."""
    return [marked for marked in annotations.objects if marked.file_name == str(task.number)]
