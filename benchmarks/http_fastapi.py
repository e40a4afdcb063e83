"""The same in FastAPI as its users would write it, served by uvicorn with uvloop: `python http_fastapi.py PORT`.

API keys by a dependency that compares digests, limits by slowapi, structlog for one JSON line a request, request ids
and security headers by middleware, bodies by orjson.
"""

import hashlib
import os
import secrets
import sys
import time
from typing import Annotated

import orjson
import structlog
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response, Security
from fastapi.security import APIKeyHeader
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIASGIMiddleware

KEYS = {hashlib.sha256(os.environ["KEY"].encode()).hexdigest(): "operator"}
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
READING = {"value": 21.5, "text": None, "quality": "good", "reason": None, "flags": [], "source": "poll"}

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(serializer=lambda event, **_options: orjson.dumps(event).decode()),
    ],
    logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    cache_logger_on_first_use=True,
)
log = structlog.get_logger()
key_header = APIKeyHeader(name="X-API-Key", auto_error=False)


def caller(request: Request) -> str:
    return request.headers.get("X-API-Key", "anonymous")


limiter = Limiter(key_func=caller, default_limits=["1000000/second"], headers_enabled=True)
app = FastAPI()
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
app.add_middleware(SlowAPIASGIMiddleware)


class Around:
    """Request id, security headers, and the log's line."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        began, request_id, status = time.perf_counter(), secrets.token_hex(8), 500
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)

        async def stamped(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = [(name.encode(), value.encode()) for name, value in SECURITY.items()]
                message["headers"] = [*message["headers"], *more, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.inner(scope, receive, stamped)
        finally:
            took = round((time.perf_counter() - began) * 1000, 2)
            log.info("request", method=scope["method"], path=scope["path"], status=status, duration_ms=took)


app.add_middleware(Around)


def signed_in(key: str | None = Security(key_header)) -> str:
    role = KEYS.get(hashlib.sha256((key or "").encode()).hexdigest())
    if role is None:
        raise HTTPException(401)
    return role


Role = Annotated[str, Depends(signed_in)]


@app.get("/readyz")
async def ready():
    return {}


@app.get("/dynamic/{name}")
async def dynamic(name: str, _role: Role):
    return Response(orjson.dumps({"name": name, **READING, "time": time.time()}), media_type="application/json")


@app.get("/points/{point_id}/value")
async def value(request: Request, point_id: str, _role: Role):
    body = orjson.dumps({**READING, "point_id": point_id})
    tag = f'W/"{hashlib.blake2b(body, digest_size=8).hexdigest()}"'
    if request.headers.get("If-None-Match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag, "Age": "1"})


@app.get("/limited")
@limiter.limit("1/hour")
async def limited(request: Request, response: Response, _role: Role):  # noqa: ARG001  # slowapi asks for both by name
    return {}


uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
