"""Serves the OpenAPI document, and a page to read and try it: Swagger UI, every byte of it from this server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from core.openapi import OPENAPI
from core.replies import Answer
from core.routes import Route
from core.web import DOCUMENT

PAGE = "/api/docs"
_FROM_BUNDLE: Mapping[str, str] = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-16x16.png": "image/png",
    "favicon-32x32.png": "image/png",
}
_SAFE: Mapping[str, str] = {
    # `data:` is for the arrows and icons that Swagger UI's style sheet holds; its inline styles are set by script,
    # through the CSSOM, which needs no permission here
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_HTML = b"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plantroom API</title>
<link rel="icon" type="image/png" sizes="32x32" href="docs/favicon-32x32.png">
<link rel="icon" type="image/png" sizes="16x16" href="docs/favicon-16x16.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/page.css">
</head>
<body>
<noscript>This page needs JavaScript; what it shows is also at <a href="v1/openapi.json">v1/openapi.json</a>.</noscript>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/page.js"></script>
</body>
</html>
"""
_STYLE = b"""\
body { margin: 0; }
noscript { display: block; padding: 2em; }
.swagger-ui .servers-title, .swagger-ui .servers,
.swagger-ui .scheme-container:not(:has(.auth-wrapper)) { display: none; }
"""
_SCRIPT = b"""\
SwaggerUIBundle({
  url: "v1/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayOperationId: true,
  displayRequestDuration: true,
  filter: true,
  showCommonExtensions: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""


def openapi_json() -> Route:
    """The route of the document of the application that answers."""

    async def handler(request: web.Request) -> Answer:
        document = request.app[DOCUMENT]
        return Answer(await asyncio.to_thread(lambda: document.json))  # not worth holding others up for

    return Route(
        "GET", "/api/v1/openapi.json", handler, "Show the OpenAPI document", role=None, example={"openapi": OPENAPI},
        description="This document: every route of the house and of its plugins as they run now.",
    )  # fmt: skip


def docs_page() -> list[Route]:
    """The routes of the page; each part of it has one of its own, and nothing else can be asked for."""
    own = {"page.css": ("text/css", _STYLE), "page.js": ("text/javascript", _SCRIPT)}
    return [
        _part(PAGE, "text/html", _HTML),
        *(_part(f"{PAGE}/{name}", media_type, body) for name, (media_type, body) in own.items()),
        *(_part(f"{PAGE}/{name}", media_type, name) for name, media_type in _FROM_BUNDLE.items()),
    ]


def _part(path: str, media_type: str, content: bytes | str) -> Route:
    """Serve bytes, or a file of Swagger UI by its name."""

    async def handler(_request: web.Request) -> Answer:
        body = content if isinstance(content, bytes) else await asyncio.to_thread(_file, content)
        return Answer(body, headers=_SAFE)

    return Route("GET", path, handler, "Show the API", role=None, media_type=media_type, documented=False)


def _file(name: str) -> bytes:
    from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

    content: bytes = (swagger_ui_path / name).read_bytes()
    return content
