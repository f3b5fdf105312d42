"""The dashboard as a web application: Streamlit's pages, headers of our own around them, and `/healthz`.

Streamlit finds `app` in this file (`rampwise dashboard` starts it so). Secrets are handed over in memory. Nothing is
served where strangers could come in: the check is made here once more, whoever starts the file and however.
"""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.routing import Route
from streamlit import config
from streamlit.starlette import App

from app.headers import SecurityHeaders
from app.health import healthz
from app.preloading import preloading
from app.server import MAIN
from app.supervision import end_with_parent
from pipelines.access.confidential import black_out_logs
from pipelines.access.listening import check_listening
from pipelines.access.login import Login
from pipelines.config import Settings, WorkspaceError, find_workspace


def _login() -> Login | None:
    address, port = config.get_option("server.address") or "", config.get_option("server.port")
    try:
        workspace = find_workspace()
    except WorkspaceError:  # the pages say so; there is nothing to see, but nothing to hide either
        check_listening(address, signs_in=False)
        return None
    return Settings.load(workspace, address=address or "0.0.0.0", port=port).login(workspace)  # noqa: S104 - to be refused


login = _login()
secure = login is not None and login.public_url.startswith("https:")
if login is not None:
    black_out_logs((login.secret, login.cookie_secret))
end_with_parent()
app = App(
    MAIN,
    secrets=None if login is None else login.streamlit_secrets(),
    lifespan=preloading,
    routes=[Route("/healthz", healthz, methods=["GET"])],
    middleware=[Middleware(SecurityHeaders, secure=secure)],
)
