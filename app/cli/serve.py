"""`weakpoints serve`."""

import logging
from typing import Annotated

from cyclopts import Parameter, validators

from app.cli.parameters import Where, settings_of_arguments
from weakpoints.errors import WeakpointsError

Port = Annotated[
    int | None,
    Parameter(
        help="port to listen on; 0: any that is free [default: WEAKPOINTS_PORT]",
        validator=validators.Number(gte=0, lte=65535),
    ),
]
HostFlag = Annotated[str | None, Parameter(help="address to listen on [default: WEAKPOINTS_HOST]")]


def serve(*, host: HostFlag = None, port: Port = None, where: Where = Where()) -> int:
    """the REST service"""
    from app.service.observability import logs

    logs.log_as_json()
    log = logging.getLogger("weakpoints")
    try:
        return _serve_here(host, port, where)
    except WeakpointsError as error:
        log.critical("the service can't start: %s", error)
    except Exception:  # whatever it is, the log has it as a line of its own kind
        log.critical("the service broke down", exc_info=True)
    return 1


def _serve_here(host: str | None, port: int | None, where: Where) -> int:
    from app.cluster.start import require_ray
    from app.service.http import signals

    if where.engine == "plain":
        signals.leave_on_stop()
    from app.service import server

    try:
        settings = settings_of_arguments(host=host, port=port)
    except WeakpointsError as error:
        logging.getLogger("weakpoints").critical("the service can't start: %s", error)
        return 2
    if where.engine == "plain":
        signals.leave(server.serve(settings))
    require_ray()
    from app.cluster.serving import serve_with_ray

    return serve_with_ray(settings, where.share)
