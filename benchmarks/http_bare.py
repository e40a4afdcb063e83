"""A bare aiohttp application: `python http_bare.py PORT PAGE.json`; nothing checks, logs or guards it.

`/dynamic/{name}` makes a small JSON body each time, `/page` writes the file's objects, kept as dicts, with orjson.
"""

import sys
import time
from pathlib import Path

import orjson
from aiohttp import web

PAGE = orjson.loads(Path(sys.argv[2]).read_bytes())


async def dynamic(request: web.Request) -> web.Response:
    body = {
        "name": request.match_info["name"], "value": 21.5, "text": None, "time": time.time(), "quality": "good",
        "reason": None, "flags": [],
    }  # fmt: skip
    return web.Response(body=orjson.dumps(body), content_type="application/json")


async def page(_request: web.Request) -> web.Response:
    return web.Response(body=orjson.dumps(PAGE), content_type="application/json")


app = web.Application()
app.router.add_get("/dynamic/{name}", dynamic)
app.router.add_get("/page", page)
app.router.add_get("/readyz", page)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
