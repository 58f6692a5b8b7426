"""RFC 9457's problem document, made here for the service, its protocol class and Ray's proxies."""

from typing import Any

MEDIA_TYPE = "application/problem+json"


def problem_document(
    status: int, slug: str, title: str, detail: str, **members: Any
) -> dict[str, Any]:
    """members: further ones, such as the path (`instance`), limit and actual."""
    return {
        "type": f"urn:weakpoints:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        **members,
    }
