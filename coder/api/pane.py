"""Serves the built pane: its assets, and its page for every path that is not a file's."""

import mimetypes
from pathlib import Path

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from coder.api.auth import is_guarded
from coder.errors import NotFound

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>coder</title>
<h1>The pane is not built</h1>
<p>The host runs and its API works, but this checkout has no built pane.
Run <code>./dev up</code>, or <code>npm ci &amp;&amp; npm run build</code> in <code>web/</code>,
and load this page again.</p>
"""


class Pane:
    """ASGI application for every path that no route has. `folder` is where the build put its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises HTTPException: 404 for a missing file and for unknown API paths, 405 for anything but reading.

        Raises NotFound for a socket: none is served here.
        """
        path = str(scope["path"])
        if scope["type"] == "websocket":
            raise NotFound("no such socket")
        if is_guarded(path):
            raise HTTPException(404, "no such route")
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        response = await anyio.to_thread.run_sync(self._find, path)
        await response(scope, receive, send)

    def _find(self, path: str) -> Response:
        folder = self._folder.resolve()
        file = (folder / path.lstrip("/")).resolve()
        if file.is_file() and file.is_relative_to(folder) and file.name != "index.html":
            is_hashed = path.startswith("/assets/")
            kept = "public, max-age=31536000, immutable" if is_hashed else "no-cache"
            return FileResponse(file, media_type=_type_of(file), headers={"Cache-Control": kept})
        if Path(path).suffix and path != "/index.html":
            raise HTTPException(404, "no such file")
        page = folder / "index.html"
        if not page.is_file():
            return HTMLResponse(_NOT_BUILT, 503)
        return FileResponse(page, media_type="text/html", headers={"Cache-Control": "no-cache"})


def _type_of(file: Path) -> str:
    return _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
