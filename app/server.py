"""How Streamlit is started: loopback only, silent, no tracebacks on screen, one light and one dark palette."""

from __future__ import annotations

import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"
MAIN = Path(__file__).with_name("main.py")
DASHBOARD = Path(__file__).with_name("dashboard.py")

SAFETY: tuple[tuple[str, str], ...] = (
    ("server.headless", "true"),  # no browser of its own, no e-mail prompt
    ("server.fileWatcherType", "none"),
    ("server.enableXsrfProtection", "true"),
    ("server.enableStaticServing", "false"),
    ("server.enableAgentApi", "false"),
    ("browser.gatherUsageStats", "false"),  # the default phones home
    ("client.showErrorDetails", "none"),  # the default shows tracebacks to visitors
    ("client.showErrorLinks", "false"),  # no links to search engines
    ("client.toolbarMode", "viewer"),  # print and theme; no deploy button, no developer menu
    ("runner.magicEnabled", "false"),
    # A field may have a default and be filled in from an experiment: what is shown is what is counted.
    ("global.disableWidgetStateDuplicationWarning", "true"),
)

# The default collects garbage after every run of a page: with all that pages import, seven times the page's own work,
# while every visitor waits. Python collects by itself when there is something to collect.
SPEED: tuple[tuple[str, str], ...] = (("runner.postScriptGC", "false"),)

# Blue for better, orange for worse, both at least 4.5:1 on their background; the words beside them carry the meaning.
THEME: tuple[tuple[str, str], ...] = (
    ("theme.baseRadius", "0.5rem"),
    ("theme.headingFontWeights", "650"),
    ("theme.headingFontSizes", '["1.9rem","1.4rem","1.15rem"]'),
    ("theme.showWidgetBorder", "true"),
    ("theme.light.primaryColor", "#1d5fbf"),
    ("theme.light.backgroundColor", "#ffffff"),
    ("theme.light.secondaryBackgroundColor", "#f4f6f9"),
    ("theme.light.textColor", "#1a2230"),
    ("theme.light.borderColor", "#dde2ea"),
    ("theme.light.linkColor", "#1d5fbf"),
    ("theme.dark.primaryColor", "#6aa9ff"),
    ("theme.dark.backgroundColor", "#11151c"),
    ("theme.dark.secondaryBackgroundColor", "#1a202a"),
    ("theme.dark.textColor", "#e8ecf2"),
    ("theme.dark.borderColor", "#313a48"),
    ("theme.dark.linkColor", "#8abaff"),
)


def streamlit_arguments(*, port: int = 8501, address: str = LOOPBACK, public_host: str | None = None) -> list[str]:
    """The command that serves the dashboard, ready for `os.execv(sys.executable, ...)`.

    Parameters
    ----------
    port, address
        TCP port, and the address to listen on; `app.dashboard` refuses any but this machine where nobody signs in.
    public_host
        The host name browsers use, where it is another.

    Notes
    -----
    The workspace is passed in the environment (`RAMPWISE_WORKSPACE`), not as an argument: process lists are public.
    `-P`: the folder it is started in is the visitor's, and a `click.py` or an `app/` there is none of ours.
    Flags outrank a visitor's own Streamlit configuration file, so the safety settings hold wherever it is started.
    """
    hosts = (LOOPBACK, "localhost", *(() if public_host is None else (public_host,)))
    listening = [
        ("server.address", address),  # the default listens on every interface
        ("browser.serverAddress", public_host or LOOPBACK),
        *(("server.allowedHosts", host) for host in dict.fromkeys(hosts)),  # other names' WebSockets: DNS rebinding
    ]
    flags = [f"--{name}={value}" for name, value in (*listening, *SAFETY, *SPEED, *THEME)]
    return [sys.executable, "-P", "-m", "streamlit", "run", str(DASHBOARD), f"--server.port={port}", *flags]
