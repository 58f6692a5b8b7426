"""What routes ask of a request before they read its photographs."""

from collections.abc import Collection

from fastapi import Request

from weakpoints.errors import BadOption


def reject_repeated_options(request: Request) -> None:
    """Raises BadOption for an option that is given twice: one of the two would be dropped."""
    reject_repeated(request, several=())


def reject_repeated(request: Request, several: Collection[str]) -> None:
    """The same, but for options that may be given several times."""
    for name in set(request.query_params) - set(several):
        if len(values := request.query_params.getlist(name)) > 1:
            raise BadOption(
                f"{name[:100]} is given {len(values)} times; once is expected, and several classes "
                "of target_class have commas between them",
                option=name[:100],
                limit=1,
                actual=len(values),
            )
