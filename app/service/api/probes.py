"""Whether the service is alive, started and ready, for orchestrators; and its metrics."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from app.schemas.answers import Alive, Live, Ready
from app.service.http.problems import RESPONSES
from app.service.lifecycle import service_of
from app.service.observability.metrics import CONTENT_TYPE
from weakpoints.errors import Unavailable

probes = APIRouter(responses={503: RESPONSES[503]})


@probes.get("/metrics", operation_id="metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE)


@probes.get("/livez", operation_id="livez")
async def livez(request: Request) -> Alive:
    """200 while the device and its thread work; otherwise a restart is needed."""
    return _alive(service_of(request).alive, "the device is lost or its thread hangs")


@probes.get("/startupz", operation_id="startupz")
async def startupz(request: Request) -> Alive:
    """200 once the network is loaded and warm."""
    return _alive(service_of(request).started, "the network is being loaded")


@probes.get("/readyz", operation_id="readyz")
async def readyz(request: Request) -> Alive:
    """200 while requests are answered: started, alive, and not stopping."""
    return _alive(service_of(request).ready, "the service is loading or stopping")


@probes.get(
    "/v2/health/live",
    operation_id="v2_live",
    summary="/livez by the Open Inference Protocol's name",
)
async def v2_live(request: Request) -> Live:
    """See `/livez`."""
    await livez(request)
    return Live()


@probes.get(
    "/v2/health/ready",
    operation_id="v2_ready",
    summary="/readyz by the Open Inference Protocol's name",
)
async def v2_ready(request: Request) -> Ready:
    """See `/readyz`."""
    await readyz(request)
    return Ready()


def _alive(yes: bool, otherwise: str) -> Alive:
    if not yes:
        raise Unavailable(otherwise, retry_after=5)
    return Alive()
