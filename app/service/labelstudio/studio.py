"""The Label Studio that is set: what is fetched from it, and what its projects taught."""

import asyncio
import hashlib
import json
import logging
from contextlib import ExitStack
from typing import Any

import anyio
from anyio.to_thread import run_sync

from app.service.intake.upload import Upload
from app.service.labelstudio.addresses import Origin, photograph_url
from app.service.labelstudio.fetching import Fetcher
from app.service.labelstudio.projects import Project, Projects
from app.service.landmark_sets import LandmarkSets
from app.settings import Settings
from weakpoints import __version__
from weakpoints.errors import BadLandmarkSet, NotAllowed, UnknownLandmarks, WeakpointsError
from weakpoints.landmarks.landmark_set import LandmarkSet
from weakpoints.method.localization import Model

log = logging.getLogger("weakpoints")
PROJECT_DIGITS = 12
SMALL, LARGE = 4, 2  # bodies at the same time: of setups and webhooks, of predictions


class LabelStudio:
    """What all requests of `/labelstudio` share."""

    def __init__(self, settings: Settings, sets: LandmarkSets) -> None:
        self.projects = Projects(settings.max_references)
        self.turns, self.predictions = anyio.CapacityLimiter(SMALL), anyio.CapacityLimiter(LARGE)
        self._sets, self._tasks = sets, set[asyncio.Task[None]]()
        self._fetcher: Fetcher | None = None
        if settings.label_studio_url:
            self._fetcher = Fetcher(
                Origin.of(settings.label_studio_url),
                settings.label_studio_api_key.get_secret_value().strip(),
                settings.max_bytes,
                settings.upload_timeout,
            )

    @property
    def fetcher(self) -> Fetcher:
        """Raises NotAllowed where no Label Studio is set."""
        if self._fetcher is None:
            raise NotAllowed(
                "LABEL_STUDIO_URL is not set: it says from where photographs are fetched"
            )
        return self._fetcher

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._fetcher is not None:
            await self._fetcher.close()

    async def read_annotations(self, number: str, seconds: float, again: bool = False) -> None:
        """Asks Label Studio for what is annotated already; once, unless `again`.

        Waits for it so long; it goes on if that is over. What goes wrong is logged: the project
        learns from what comes.
        """
        project = self.projects.get(number)
        if self._fetcher is None:
            return
        if project.reading is None or (again and project.reading.done()):
            project.reading = asyncio.create_task(self._read_annotations(number, self._fetcher))
            self._tasks.add(project.reading)
            project.reading.add_done_callback(self._tasks.discard)
        await asyncio.wait({project.reading}, timeout=seconds)

    async def photograph(self, address: Any, task: object, place: ExitStack) -> Upload:
        """A task's photograph; place: among the uploads. Raises WeakpointsError."""
        fetcher = self.fetcher
        url = photograph_url(address, fetcher.origin, task)
        upload = Upload(None, fetcher.max_bytes, place)
        upload.add(await fetcher.get(url))
        return upload

    async def kept_set(self, number: str) -> LandmarkSet | None:
        """What the project taught before the service was started again."""
        try:
            return await run_sync(self._sets.get, set_name(number))
        except UnknownLandmarks:
            return None
        except (BadLandmarkSet, OSError) as error:
            log.warning("the set of Label Studio's project %s: %s", number, error)
            return None

    async def keep(self, number: str, project: Project, learnt: LandmarkSet) -> None:
        """As a landmark set of the service's, where those are kept."""
        if self._sets.writable and project.saved != project.digest:
            project.saved = project.digest
            try:
                await run_sync(self._sets.put, set_name(number), learnt)
            except OSError as error:  # predictions go on without
                log.warning("the set of Label Studio's project %s: %s", number, error)

    async def version(self, number: str, model: Model, config: str | None = None) -> str:
        """Of network, options, and what the project taught.

        Options are in the configuration; None: the one that the project had the last time.
        """
        project = self.projects.get(number)
        if config is not None:
            project.config = hashlib.sha256(config.encode("utf-8", "replace")).hexdigest()[:6]
        parts = ["weakpoints", __version__, model.name, model.sha256[:8], project.config]
        if taught := project.digest:
            parts.append(taught)
        elif (kept := await self.kept_set(number)) is not None:
            parts.append(hashlib.sha256(repr(kept.sources).encode()).hexdigest()[:8])
        return "-".join(parts)

    async def _read_annotations(self, number: str, fetcher: Fetcher) -> None:
        path = f"/api/projects/{number}/export?exportType=JSON"
        try:
            tasks = json.loads(await fetcher.get(fetcher.origin.api(path), "the annotations"))
        except (WeakpointsError, ValueError, RecursionError) as error:
            log.warning("the annotations of Label Studio's project %s: %s", number, error)
            return
        for task in tasks if isinstance(tasks, list) else []:
            annotations = task.get("annotations") if isinstance(task, dict) else None
            for annotation in annotations if isinstance(annotations, list) else []:
                self.learn(number, task, annotation)

    def learn(self, number: str, task: Any, annotation: Any) -> str:
        """Why an annotation can't be learnt from; "" where it can."""
        try:
            self.projects.learn(number, task, annotation)
        except WeakpointsError as error:
            log.warning("an annotation of Label Studio's project %s: %s", number, error.detail)
            return error.detail
        return ""


def set_name(number: str) -> str:
    return f"label-studio-{number}"


def project_number(project: Any) -> str:
    """Of `7.1716300000`, a number, or an object with `id`; "0" where there is none."""
    if isinstance(project, dict):
        project = project.get("id")
    text = str(project).partition(".")[0]
    known = text.isascii() and text.isdecimal() and len(text) <= PROJECT_DIGITS
    return text if known else "0"
