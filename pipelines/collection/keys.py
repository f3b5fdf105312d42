"""Write-only keys: who may send. Only their hashes are kept in memory, and nothing of them is ever logged."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.collection.errors import KeysError

KEYS_VARIABLE = "RAMPWISE_COLLECTOR_KEYS"
SHORTEST_SECRET = 16
LONGEST_SECRET = 256
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
ADVICE = "Write one key per line (or comma) as name:secret, for example web:followed-by-a-long-random-text."


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Names of keys with the SHA-256 of their secrets. Two names may be used while a secret is being changed."""

    digests: Mapping[str, bytes]

    def __bool__(self) -> bool:
        return bool(self.digests)

    def name_of(self, secret: bytes) -> str | None:
        """Whose secret this is; None if nobody's. The time it takes does not depend on how much of it is right."""
        digest, found = hashlib.sha256(secret).digest(), None
        for name, known in self.digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found


def read_keys(*, path: Path | None, variable: str | None) -> Keys:
    """Keys from a file, else from the text of an environment variable, else none.

    Raises
    ------
    KeysError
        If the file cannot be read, or a line is not `name:secret` with a secret of 16 to 256 printable characters.
    """
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = "is not UTF-8." if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}."
            raise KeysError(str(path), problem, ADVICE) from None
        return _parsed(str(path), text.splitlines())
    if variable is not None:
        return _parsed(KEYS_VARIABLE, re.split(r"[,\n]", variable))
    return Keys(digests={})


def _parsed(where: str, lines: Iterable[str]) -> Keys:
    digests: dict[str, bytes] = {}
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, separator, secret = entry.partition(":")
        name, secret = name.strip(), secret.strip()
        if not separator or NAME.fullmatch(name) is None:
            raise KeysError(where, f"entry {number} has no name of the form a-z, 0-9, _ and -.", ADVICE)
        if not SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET or not secret.isascii() or not secret.isprintable():
            problem = f"the secret of {name!r} is not {SHORTEST_SECRET} to {LONGEST_SECRET} printable ASCII characters."
            raise KeysError(
                where, problem, "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'."
            )
        if name in digests:
            raise KeysError(where, f"the name {name!r} is there twice.", "Give each key a name of its own.")
        digests[name] = hashlib.sha256(secret.encode()).digest()
    if not digests:
        raise KeysError(where, "holds no key.", ADVICE)
    return Keys(digests=digests)
