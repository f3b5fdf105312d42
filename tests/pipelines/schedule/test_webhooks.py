"""Webhooks: what is sent, and everywhere that nothing is sent to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, ClassVar

import pytest

from pipelines.access.confidential import Secret
from pipelines.schedule.webhooks import LARGEST_BODY, WebhookError, may_be_called, send, signature

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = bytes(range(32))
SECRET = Secret("whsec_" + base64.b64encode(KEY).decode())
LOCAL = frozenset({"127.0.0.1", "hooks.internal"})


class Receiver(BaseHTTPRequestHandler):
    """Keeps what comes, and answers as the path says."""

    got: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        if self.path.startswith("/drip"):
            self.send_response(200)
            self.flush_headers()
            for number in range(100):
                self.wfile.write(f"X-{number}: 1\r\n".encode())
                self.wfile.flush()
                time.sleep(0.05)
        status = int(self.path.strip("/").partition("?")[0] or 204)
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/204")
        self.end_headers()
        if status == 299:
            self.wfile.write(b"x" * 100_000)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def receiving() -> Iterator[int]:
    Receiver.got.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign] - who is hung up on complains
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def post(url: str, **options: Any) -> Any:
    return send(Secret(url), {"decision": "ship"}, secret=SECRET, now=NOW, **options)


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the specification's reference libraries (standard-webhooks, `test_sign_function`)."""
    known = signature(
        Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert known == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_arrives_with_headers_that_verify() -> None:
    with receiving() as port:
        sent = post(f"http://127.0.0.1:{port}/204?x=1", private_hosts=LOCAL, message_id="msg_1")
    [(path, headers, body)] = Receiver.got
    assert (sent.status, sent.message_id, path) == (204, "msg_1", "/204?x=1")
    assert json.loads(body) == {"decision": "ship"}
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    expected = hmac.new(KEY, f"msg_1.{int(NOW.timestamp())}.".encode() + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)
def test_no_address_but_a_public_one_is_called(address: str) -> None:
    assert not may_be_called(ip_address(address), private=False)
    with pytest.raises(WebhookError, match="not public"):
        post("https://hooks.example.org/", resolve=lambda *_: [address])
    with pytest.raises(WebhookError, match="not public"):  # one bad address among good ones
        post("https://hooks.example.org/", resolve=lambda *_: ["93.184.215.14", address])


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1"])
def test_where_clouds_hand_out_credentials_is_never_called_even_if_private_is_allowed(address: str) -> None:
    assert not may_be_called(ip_address(address), private=True)
    with pytest.raises(WebhookError, match="not public"):
        post("http://hooks.internal/", private_hosts=LOCAL, resolve=lambda *_: [address])


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_may_be_called(address: str) -> None:
    assert may_be_called(ip_address(address), private=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/",
        "https://localhost:{port}/",
        "https://2130706433:{port}/",
        "https://0x7f.1:{port}/",
        "https://127.1:{port}/",
        "https://[::1]:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "https://user:pass@127.0.0.1:{port}/",
        "file:///etc/passwd",
        "ftp://127.0.0.1:{port}/",
        "gopher://127.0.0.1:{port}/",
        "https:///x",
        "https://hooks.example.org:0/",
        "https://hooks.example.org:99999/",
        "https://hooks.exämple.org/",
        "https://hooks.example.org/\r\nX-Evil: 1",
        "https://[bad/",
        "",
    ],
)
def test_no_spelling_of_this_machine_and_no_other_scheme_gets_through(url: str) -> None:
    with receiving() as port, pytest.raises(WebhookError):
        post(url.format(port=port))
    assert Receiver.got == []


def test_a_name_that_changes_its_address_is_asked_once_and_the_checked_address_is_called() -> None:
    """DNS rebinding: the first answer is what is checked and what is connected to."""
    answers = [["127.0.0.1"], ["93.184.215.14"]]
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return answers[len(asked) - 1]

    with receiving() as port:
        assert post(f"http://hooks.internal:{port}/", private_hosts=LOCAL, resolve=resolve).status == 204
    assert asked == [("hooks.internal", port)]
    [(_, headers, _)] = Receiver.got
    assert headers["host"] == f"hooks.internal:{port}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with receiving() as port, pytest.raises(WebhookError, match="redirects") as caught:
        post(f"http://127.0.0.1:{port}/{status}", private_hosts=LOCAL)
    assert caught.value.status == status
    assert len(Receiver.got) == 1


@pytest.mark.parametrize(("status", "again"), [(400, False), (401, False), (410, False), (429, True), (503, True)])
def test_a_refusal_says_whether_trying_again_may_help(status: int, again: bool) -> None:
    with receiving() as port, pytest.raises(WebhookError, match=f"answered {status}") as caught:
        post(f"http://127.0.0.1:{port}/{status}", private_hosts=LOCAL)
    assert (caught.value.status, caught.value.again) == (status, again)


def test_an_answer_that_drips_is_cut_off_in_time() -> None:
    with receiving() as port:
        started = time.monotonic()
        with pytest.raises(WebhookError, match=r"within 0\.5 s") as caught:
            post(f"http://127.0.0.1:{port}/drip", private_hosts=LOCAL, seconds=0.5)
        assert time.monotonic() - started < 3
    assert caught.value.again


def test_too_much_either_way_is_refused() -> None:
    with receiving() as port, pytest.raises(WebhookError, match="more than"):
        post(f"http://127.0.0.1:{port}/299", private_hosts=LOCAL)
    with pytest.raises(WebhookError, match="limit"):
        send(Secret("https://hooks.example.org/"), {"x": "y" * LARGEST_BODY}, secret=SECRET, now=NOW)


def test_an_error_names_the_host_and_not_the_secret_path_or_key() -> None:
    with receiving() as port:
        free = port
    with pytest.raises(WebhookError) as caught:
        post(f"http://127.0.0.1:{free}/services/T0/canary-path?token=canary-query", private_hosts=LOCAL)
    told = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert "127.0.0.1" in told
    assert "canary" not in told
    with pytest.raises(WebhookError) as caught:
        send(Secret("https://hooks.example.org/"), {}, secret=Secret("whsec_canary"), now=NOW)
    assert "canary" not in str(caught.value)
