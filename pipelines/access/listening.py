"""Where we listen: this machine only, unless people have to sign in."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from pipelines.errors import UsageError


class ListeningError(UsageError):
    """We would listen where strangers can come in; `address` says where."""

    def __init__(self, address: str, message: str) -> None:
        self.address = address
        super().__init__(message)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: 127.0.0.0/8, ::1 or localhost. Other names may lead anywhere and are not."""
    bare = host.strip().removeprefix("[").removesuffix("]").removesuffix(".").lower()
    if bare == "localhost":
        return True
    try:
        address = ip_address(bare)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def check_listening(address: str, *, signs_in: bool) -> None:
    """Go on only if nobody from outside gets in without signing in.

    Raises
    ------
    ListeningError
        If `address` is not this machine and nobody has to sign in. An empty address means all of them.
    """
    if not signs_in and not is_loopback(address):
        raise ListeningError(
            address,
            f"Refusing to listen on {address or 'every address'}: whoever reaches it would see and change everything. "
            "Set up signing in (`login_url`, `login_client`, RAMPWISE_LOGIN_SECRET), or listen on 127.0.0.1.",
        )


def split_web_address(name: str, text: str) -> SplitResult:
    """An http(s) address in its parts; https unless it is on this machine.

    Raises
    ------
    ListeningError
        If it is no such address; `name` is the setting it came from.
    """
    try:
        parts = urlsplit(text)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.username is not None or parts.password is not None or not text.isprintable() or " " in text:
        raise ListeningError(text, f"{name} = {text!r} is not a web address such as https://rampwise.example.org.")
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ListeningError(
            text, f"{name} = {text!r} must be https: sign-ins and sessions would cross the network in clear text."
        )
    return parts
