"""Who is at work: a user of this machine, a part of rampwise, or somebody who signed in."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from pipelines.access.roles import Actor, Role
from pipelines.errors import PipelineError

LONGEST_NAME = 254
CLOCK_DIFFERENCE = timedelta(minutes=5)


class SignInError(PipelineError):
    """What the sign-in service says about somebody cannot be accepted; the message says why."""


def local_actor() -> Actor:
    """The user of this machine who runs the command; whoever can write the files is their admin anyway."""
    try:
        import pwd  # not on Windows

        name = pwd.getpwuid(os.getuid()).pw_name  # unlike the environment, this cannot be set by the user
    except (ImportError, KeyError):
        name = _from_environment()
    return Actor(name=f"local:{name}", role=Role.ADMIN)


def _from_environment() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def part(name: str) -> Actor:
    """A part of rampwise that works by itself, such as the report schedule: it may do what an editor may."""
    return Actor(name=f"part:{name}", role=Role.EDITOR)


def signed_in(
    claims: Mapping[str, object],
    *,
    roles: Mapping[str, Role],
    group_roles: Mapping[str, Role],
    group_claim: str = "groups",
    default_role: Role | None = None,
    trust_email: bool = False,
    session: timedelta = timedelta(hours=12),
    now: datetime,
) -> Actor:
    """Somebody who signed in, with the highest role that address or groups give.

    Parameters
    ----------
    claims
        What the sign-in service says: `email`, `email_verified`, `iat`, and the groups.
    roles, group_roles
        Roles by e-mail address and by group.
    group_claim
        Name of the claim that holds the groups.
    default_role
        Role of those whom nobody has named; None: none.
    trust_email
        Whether an address counts that the service does not call verified.
    session
        How long after the sign-in it holds.
    now
        The present moment (aware).

    Raises
    ------
    SignInError
        If there is no usable address, or the sign-in is too old.
    """
    address = _address(claims, trust_email=trust_email)
    signed = claims.get("iat")
    if isinstance(signed, bool) or not isinstance(signed, int | float):
        raise SignInError("The sign-in service does not say when you signed in (claim `iat`). Sign in again.")
    age = now.timestamp() - signed
    if not -CLOCK_DIFFERENCE.total_seconds() <= age < session.total_seconds():
        raise SignInError("Your sign-in is too old. Sign in again.")
    by_address = {comparable(key): role for key, role in roles.items()}
    found = [by_address[comparable(address)]] if comparable(address) in by_address else []
    found += [group_roles[group] for group in _groups(claims.get(group_claim)) if group in group_roles]
    order = tuple(Role)
    return Actor(name=f"user:{address}", role=max(found, key=order.index) if found else default_role)


def comparable(address: str) -> str:
    """An address with ASCII letters in lower case.

    Only those: under Unicode's rules other letters (the Kelvin sign, a long s) become ASCII ones, and a stranger's
    address would become that of an admin.
    """
    return "".join(letter.lower() if letter.isascii() else letter for letter in address)


def _address(claims: Mapping[str, object], *, trust_email: bool) -> str:
    address = claims.get("email")
    if not isinstance(address, str) or not 3 <= len(address) <= LONGEST_NAME or "@" not in address:
        raise SignInError("The sign-in service gives no e-mail address (claim `email`). Ask an admin to release it.")
    if not address.isprintable() or any(letter.isspace() for letter in address):
        raise SignInError("The sign-in service gives an e-mail address with hidden characters; it is not accepted.")
    if not trust_email and str(claims.get("email_verified")) not in ("True", "true"):
        raise SignInError(
            f"The sign-in service does not say that {address} was verified (claim `email_verified`). "
            "Where all its addresses can be trusted, an admin sets `trust_email = true`."
        )
    return address


def _groups(claim: object) -> Iterable[str]:
    if isinstance(claim, str):
        return (claim,)
    return tuple(each for each in claim if isinstance(each, str)) if isinstance(claim, list | tuple) else ()
