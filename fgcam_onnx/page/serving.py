"""A folder served on this machine alone, with the types that browsers insist on."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ..errors import OptionError


class Handler(SimpleHTTPRequestHandler):
    """Names types whatever the machine's tables say."""

    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".onnx": "application/octet-stream",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
    }

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def end_headers(self) -> None:
        """Let the browser ask again for what may have changed."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def serving(folder: str | Path, *, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of ``folder`` on the loopback; port 0 takes any free one.

    Raises
    ------
    OptionError
        The port is taken.
    """
    handler = functools.partial(Handler, directory=str(folder))
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise OptionError(f"port {port} cannot be served: {error.strerror}; name another, or 0 for any") from error
