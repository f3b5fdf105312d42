"""Headers around everything the dashboard serves: what a page may load, who may frame it, how cookies travel."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import streamlit
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


def inline_scripts(page: bytes) -> list[str]:
    """Hashes of the scripts inside a page, as a policy names them (CSP level 3, `'sha256-...'`)."""
    digests = [hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(page) if script]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


@cache
def policy() -> str:
    """What a page of the dashboard may load: itself.

    Streamlit sets styles from its scripts and loads our panel's script from a blob of its own. The script inside its
    page is allowed by its hash and no other.
    """
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_bytes()
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self' blob:", *inline_scripts(page))),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "media-src 'self'",
            "worker-src 'self' blob:",
            "manifest-src 'self'",
            "form-action 'self'",
            "base-uri 'self'",
            "frame-ancestors 'none'",
        )
    )


HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TRANSPORT: Final = "max-age=31536000"


class SecurityHeaders:
    """Adds the headers; where browsers come by https, cookies are sent back by https only.

    Parameters
    ----------
    app
        What is served.
    secure
        Whether browsers reach us by https.
    """

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self.app, self.secure = app, secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(message)
            await send(message)

        await self.app(scope, receive, sending)

    def _add(self, message: MutableMapping[str, Any]) -> None:
        headers = MutableHeaders(scope=message)
        headers["Content-Security-Policy"] = policy()
        for name, value in HEADERS.items():
            headers[name] = value
        if self.secure:
            headers["Strict-Transport-Security"] = TRANSPORT
            message["headers"] = [
                (name, value + b"; Secure" if name == b"set-cookie" and b"secure" not in value.lower() else value)
                for name, value in message["headers"]
            ]
