"""Signing in with a real provider in a real browser: who gets in, as what, and what stays outside."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner

from app.cli import cli
from pipelines.config import Workspace

pytestmark = pytest.mark.browser
CANARY = "canary-login-secret-91c2"
SECRET_FILES = {"login.secret", "cookie.secret"}
TITLE = "Shorter sign-up page"
USERS = {
    "ana": {"email": "ana@example.org", "email_verified": True},
    "bo": {"email": "bo@example.org", "email_verified": True, "groups": ["growth"]},
    "eve": {"email": "eve@example.org", "email_verified": True},
    "mallory": {"email": "ana@example.org", "email_verified": False},
    "hidden": {"email": "ana\u200b@example.org", "email_verified": True, "groups": ["growth"]},
}
PROVIDER = """
import json, sys
from oidc_provider_mock import User, run_server_in_thread
users = [User(sub=sub, claims=claims) for sub, claims in json.loads(sys.argv[1]).items()]
with run_server_in_thread(user_claims=users, require_nonce=True) as server:
    print(server.server_port, flush=True)
    sys.stdin.read()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def provider(chromium: str) -> Iterator[str]:
    """A sign-in service in a process of its own, where its library's deprecations are no errors of ours."""
    command = [sys.executable, "-W", "ignore", "-c", PROVIDER, json.dumps(USERS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://localhost:{int(process.stdout.readline())}"
        process.stdin.close()


@pytest.fixture(scope="module")
def served(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`rampwise serve` of a workspace in which people sign in; `url` and `log` lie beside it."""
    root = tmp_path_factory.mktemp("signing_in") / "team"
    _fill(root)
    workspace, port = Workspace(root=root), free_port()
    workspace.settings_path.write_text(
        f'port = {port}\nlogin_url = "{provider}/.well-known/openid-configuration"\nlogin_client = "rampwise"\n'
        'roles = { "ana@example.org" = "editor" }\ngroup_roles = { "growth" = "viewer" }\n'
    )
    secret = root.parent / "login.secret"
    secret.write_text(f"{CANARY}\n")
    secret.chmod(0o600)
    environment = os.environ | {"RAMPWISE_LOGIN_SECRET_FILE": str(secret), "HOME": str(root.parent)}
    (root.parent / "url").write_text(f"http://localhost:{port}")
    with (root.parent / "log").open("wb") as log:
        script = Path(sys.executable).with_name("rampwise")
        command = [script, "-v", "--workspace", root, "serve"]
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _wait(f"http://localhost:{port}/healthz", server, root.parent / "log")
            yield root
        finally:
            server.terminate()
            assert server.wait(timeout=30) == 0


def _fill(root: Path) -> None:
    """A workspace with one analysed experiment, of a few units."""
    arms = ("nine_fields", "three_fields")
    seen = "".join(f"signup_page,u{number},{arms[number % 2]},2025-03-04T10:00:00Z\n" for number in range(400))
    done = "".join(f"u{number},signup,2025-03-04T11:00:00Z\n" for number in range(0, 400, 3))
    root.parent.joinpath("exposures.csv").write_text(f"experiment,unit_id,variant,exposed_at\n{seen}")
    root.parent.joinpath("events.csv").write_text(f"unit_id,event,occurred_at\n{done}")
    loads = [("ingest", table, root.parent / f"{table}.csv") for table in ("exposures", "events")]
    for command in (("init", root), *loads, ("analyze",)):
        assert CliRunner().invoke(cli, ["--workspace", str(root), *map(str, command)]).exit_code == 0


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        try:
            with urlopen(url, timeout=2):
                return
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"not served: {log.read_text()}")


@pytest.fixture
def page(browser: Browser, served: Path) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def url(served: Path) -> str:
    return (served.parent / "url").read_text()


def sign_in(page: Page, served: Path, sub: str) -> None:
    page.goto(url(served))
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(re.compile("oauth2/authorize"))
    page.get_by_role("button", name=sub, exact=True).click()
    page.wait_for_url(re.compile(re.escape(url(served))))


def test_nothing_is_shown_to_a_stranger(page: Page, served: Path) -> None:
    for path in ("", "/experiment?experiment=signup_page", "/sample-size"):
        page.goto(url(served) + path)
        expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
        expect(page.locator("body")).not_to_contain_text(TITLE)


def test_an_editor_signs_in_sees_results_and_signs_out_again(page: Page, served: Path) -> None:
    sign_in(page, served, "ana")
    expect(page.get_by_role("heading", level=1)).to_have_text("Experiments")
    expect(page.locator("body")).to_contain_text(TITLE)
    expect(page.get_by_test_id("stSidebar")).to_contain_text("ana@\u2060example.org · editor")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert all(cookie["httpOnly"] for name, cookie in cookies.items() if name.startswith("_streamlit_user"))
    assert any(name.startswith("_streamlit_user") for name in cookies)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile(r"/oauth2/end_session"))  # the provider asks; our cookie is gone by then
    page.goto(url(served))
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    expect(page.locator("body")).not_to_contain_text(TITLE)


def test_a_group_gives_a_role(page: Page, served: Path) -> None:
    sign_in(page, served, "bo")
    expect(page.get_by_test_id("stSidebar")).to_contain_text("bo@\u2060example.org · viewer")


@pytest.mark.parametrize(
    ("sub", "told"),
    [("eve", "gives you no role"), ("mallory", "does not say that"), ("hidden", "hidden characters")],
)
def test_whom_nobody_knows_and_who_only_claims_an_address_stays_outside(
    page: Page, served: Path, sub: str, told: str
) -> None:
    sign_in(page, served, sub)
    expect(page.locator("body")).to_contain_text(told)
    expect(page.locator("body")).not_to_contain_text(TITLE)


def test_a_forged_cookie_is_nobody(page: Page, served: Path) -> None:
    forged = json.dumps({"email": "ana@example.org", "email_verified": True, "is_logged_in": True})
    page.context.add_cookies([{"name": "_streamlit_user", "value": forged.encode().hex(), "url": url(served)}])
    page.goto(url(served))
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def test_the_answers_carry_a_strict_policy_and_healthz_tells_no_names(served: Path) -> None:
    for path in ("/", "/healthz", "/_stcore/health"):
        with urlopen(url(served) + path, timeout=10) as answer:
            headers, body = answer.headers, answer.read().decode()
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        if path == "/healthz":
            assert json.loads(body) == {
                "status": "ok",
                "parts": {"dashboard": "ok", "results": "ok", "schedule": "ok"} | _others(body),
            }
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{url(served)}/..%2f..%2fetc/passwd", timeout=10)
    refused.value.close()
    assert refused.value.code >= 400


def _others(body: str) -> dict[str, str]:
    return {name: state for name, state in json.loads(body)["parts"].items() if name in ("inbox", "rollouts")}


def test_secrets_are_in_no_file_and_no_log(served: Path) -> None:
    cookie = served / "data" / "cookie.secret"
    assert stat.S_IMODE(cookie.stat().st_mode) == 0o600
    for hidden in (CANARY, cookie.read_text().strip()):
        holding = [
            path
            for path in served.parent.rglob("*")
            if path.is_file()
            and path.name not in {"login.secret", "cookie.secret"}
            and hidden.encode() in path.read_bytes()
        ]
        assert holding == []
