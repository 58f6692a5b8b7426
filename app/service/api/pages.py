"""The page to try the service on, and the API's reference: both work offline."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles

PAGE = Path(__file__).parents[1] / "page"
SWAGGER = Path(fastapi_offline.__file__).parent / "static"
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; img-src 'self' blob: data:"
CONTENT_SECURITY = "Content-Security-Policy"


def add_pages(app: FastAPI) -> None:
    """Adds `/`, `/named`, `/docs` and their files."""

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={CONTENT_SECURITY: POLICY})

    @app.get("/named", include_in_schema=False)
    async def named() -> FileResponse:
        return FileResponse(PAGE / "named.html", headers={CONTENT_SECURITY: POLICY})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="openapi.json",
            title="weakpoints: API",
            swagger_js_url="swagger/swagger-ui-bundle.js",
            swagger_css_url="swagger/swagger-ui.css",
            swagger_favicon_url="data:,",
        )
        page.headers[CONTENT_SECURITY] = (
            f"{POLICY}; {_of_what_is_inline(bytes(page.body).decode())}"
        )
        return page

    # Routes and no mounts: a mount has no name in the log and in the metrics.
    for folder, directory in (("page", PAGE), ("swagger", SWAGGER)):
        add_files(app, folder, StaticFiles(directory=directory))


def add_files(app: FastAPI, folder: str, files: StaticFiles) -> None:
    @app.get(f"/{folder}/{{path:path}}", name=folder, include_in_schema=False)
    async def file(request: Request, path: str) -> Response:
        return await files.get_response(path, request.scope)


def _of_what_is_inline(page: str) -> str:
    """The part of a policy that allows what is inline.

    That is this page's own script, and the styles that Swagger UI sets.
    """
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = (b64encode(sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"script-src 'self' {allowed}; style-src 'self' 'unsafe-inline'"
