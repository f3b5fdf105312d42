"""Where we listen, how signing in is set up, and what happens to secrets on the way."""

from __future__ import annotations

import json
import logging
import pickle
import stat
from pathlib import Path

import pytest

from pipelines.access.confidential import Secret, SecretError, black_out_logs, kept_secret, read_secret
from pipelines.access.listening import ListeningError, check_listening, is_loopback, split_web_address
from pipelines.access.login import SECRET_VARIABLE, LoginError
from pipelines.config import Settings, SettingsError, Workspace, create_workspace

CANARY = "canary-5d1e0f"
LOGIN = {"login_url": "https://login.example.org/.well-known/openid-configuration", "login_client": "rampwise"}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in (SECRET_VARIABLE, f"{SECRET_VARIABLE}_FILE"):
        monkeypatch.delenv(name, raising=False)
    return create_workspace(tmp_path / "team")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST", "localhost.", "::ffff:127.0.0.1"],
)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)
    check_listening(host, signs_in=False)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "192.168.1.4",
        "10.0.0.1",
        "rampwise.example.org",
        "localhost.example.org",
        "127.0.0.1.example.org",
        "::ffff:10.0.0.1",
        "127.1",
        "0177.0.0.1",
        "2130706433",
    ],
)
def test_anywhere_else_only_where_people_sign_in(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ListeningError, match="Refusing to listen"):
        check_listening(host, signs_in=False)
    check_listening(host, signs_in=True)


@pytest.mark.parametrize(
    "text",
    [
        "http://rampwise.example.org",
        "ftp://rampwise.example.org",
        "https://",
        "rampwise.example.org",
        "https://user:secret@rampwise.example.org",
        "https://rampwise.example.org:99999",
        "https://rampwise.example.org/\nX-Evil: 1",
        "javascript:alert(1)",
        "https://rampwise.example .org",
    ],
)
def test_a_web_address_is_https_and_nothing_odd(text: str) -> None:
    with pytest.raises(ListeningError):
        split_web_address("public_url", text)


def test_without_login_only_this_machine_and_with_it_anywhere(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings.load(workspace).login(workspace) is None
    with pytest.raises(ListeningError, match=r"0\.0\.0\.0"):
        Settings.load(workspace, address="0.0.0.0").login(workspace)
    monkeypatch.setenv(SECRET_VARIABLE, CANARY)
    with pytest.raises(LoginError, match="public_url"):
        Settings.load(workspace, address="0.0.0.0", **LOGIN).login(workspace)
    public = {"public_url": "https://rampwise.example.org/"}
    login = Settings.load(workspace, address="0.0.0.0", **LOGIN, **public).login(workspace)
    assert login is not None
    handed = login.streamlit_secrets()["auth"]
    assert handed["redirect_uri"] == "https://rampwise.example.org/oauth2callback"
    assert handed["client_secret"] == CANARY
    assert CANARY not in repr(login) + str(login)
    assert handed["cookie_secret"] not in repr(login)


@pytest.mark.parametrize("given", [{"login_url": LOGIN["login_url"]}, {"login_client": "x"}, LOGIN])
def test_login_that_is_set_up_in_part_is_refused_and_not_ignored(
    workspace: Workspace, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LoginError, match="missing"):
        Settings.load(workspace, **given).login(workspace)
    monkeypatch.setenv(SECRET_VARIABLE, CANARY)
    if given is not LOGIN:
        with pytest.raises(LoginError, match="missing") as caught:
            Settings.load(workspace, **given).login(workspace)
        assert CANARY not in str(caught.value)


def test_a_secret_comes_from_the_environment_or_a_file_and_not_from_both(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"  {CANARY}\n")
    found = read_secret("X", environment={"X": CANARY})
    assert found is not None
    assert found.reveal() == CANARY
    found = read_secret("X", environment={"X_FILE": str(file)})
    assert found is not None
    assert found.reveal() == CANARY
    assert read_secret("X", environment={"X": "", "X_FILE": ""}) is None
    with pytest.raises(SecretError, match="keep one") as caught:
        read_secret("X", environment={"X": CANARY, "X_FILE": str(file)})
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b" \n", f"{CANARY}\nsecond".encode(), b"\xff\xfe", b"x" * 9000])
def test_a_file_that_holds_no_secret_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(SecretError) as caught:
        read_secret("X", environment={"X_FILE": str(file)})
    assert CANARY not in str(caught.value)
    with pytest.raises(SecretError, match="cannot be read"):
        read_secret("X", environment={"X_FILE": str(tmp_path / "missing")})


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{[secret]}", f"{secret:x}"]
    assert not any(CANARY in each for each in shown)
    with pytest.raises(TypeError):
        json.dumps({"secret": secret})
    with pytest.raises(SecretError):
        pickle.dumps(secret)


def test_the_cookie_secret_is_made_once_private_and_random(tmp_path: Path) -> None:
    first, again = kept_secret(tmp_path / "a" / "cookie"), kept_secret(tmp_path / "a" / "cookie")
    assert first.reveal() == again.reveal()
    assert len(first.reveal()) >= 60
    assert first.reveal() != kept_secret(tmp_path / "b").reveal()
    assert stat.S_IMODE((tmp_path / "a" / "cookie").stat().st_mode) == 0o600
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["cookie"]


def test_a_cookie_secret_that_others_know_or_that_is_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cookie"
    text = kept_secret(path).reveal()
    path.chmod(0o644)
    with pytest.raises(SecretError, match="everybody on this machine may read") as caught:
        kept_secret(path)
    assert text not in str(caught.value)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(SecretError, match="damaged"):
        kept_secret(path)


def test_logs_do_not_hold_a_secret_not_even_in_tracebacks(
    caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    factory = logging.getLogRecordFactory()
    request.addfinalizer(lambda: logging.setLogRecordFactory(factory))
    black_out_logs([Secret(CANARY)])
    log = logging.getLogger("test")
    with caplog.at_level(logging.INFO):
        log.info("token=%s", CANARY)
        log.info("%(a)s", {"a": f"x{CANARY}y"})
        try:
            raise RuntimeError(f"bad answer to {CANARY}")
        except RuntimeError:
            log.exception("failed with %s", CANARY)
        log.info("nothing to hide: %d", 3)
    assert CANARY not in caplog.text
    assert caplog.text.count("[secret]") == 4
    assert "nothing to hide: 3" in caplog.text
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize("name", ["login_secret", "cookie_secret", "password", "api_key", "token"])
def test_a_secret_in_the_settings_file_is_refused_without_showing_it(workspace: Workspace, name: str) -> None:
    workspace.settings_path.write_text(f'{name} = "{CANARY}"\n')
    with pytest.raises(SettingsError, match="come from the environment") as caught:
        Settings.load(workspace)
    assert CANARY not in str(caught.value)
    assert CANARY not in repr(caught.value.mistakes)


def test_roles_are_read_from_the_file_and_wrong_ones_are_named(workspace: Workspace) -> None:
    workspace.settings_path.write_text('roles = { "ana@example.org" = "admin" }\ndefault_role = "viewer"\n')
    settings = Settings.load(workspace)
    assert settings.roles == {"ana@example.org": "admin"}
    assert settings.default_role == "viewer"
    workspace.settings_path.write_text('roles = { "ana@example.org" = "root" }\n')
    with pytest.raises(SettingsError, match=r"roles\.ana@example\.org = 'root'"):
        Settings.load(workspace)
