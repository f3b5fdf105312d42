"""Secrets: read from the environment or from files only, never printed, and blacked out in logs."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pipelines.access.private_files import open_to_others, write_private
from pipelines.errors import UsageError

HIDDEN = "[secret]"
SHORTEST_BLACKED_OUT = 6
LONGEST = 8192


class SecretError(UsageError):
    """A secret cannot be used; the message says where it was looked for, never what it is."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that shows itself only when asked to: not in a message, a traceback's values, or JSON."""

    _text: str

    def reveal(self) -> str:
        """The text, for whom it is meant."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __reduce__(self) -> str:
        raise SecretError("A secret is not stored.")


def read_secret(name: str, *, environment: Mapping[str, str] | None = None) -> Secret | None:
    """The secret in the variable `name`, or in the file that `name`_FILE names; None where neither is set.

    Raises
    ------
    SecretError
        If both are set, or the file cannot be read, is empty or far too long.
    """
    found = os.environ if environment is None else environment
    text, file = found.get(name) or None, found.get(f"{name}_FILE") or None
    if text is not None and file is not None:
        raise SecretError(f"Both {name} and {name}_FILE are set: keep one.")
    if file is not None:
        try:
            with Path(file).expanduser().open(encoding="utf-8") as opened:
                text = opened.read(LONGEST + 1).strip()
        except (OSError, UnicodeDecodeError) as error:
            problem = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
            raise SecretError(f"The file that {name}_FILE names {problem}.") from None
    if text is None:
        return None
    if not text or len(text) > LONGEST or any(letter < " " for letter in text):
        raise SecretError(f"{name} (or its file) is empty, too long, or holds line breaks: one secret, in one line.")
    return Secret(text)


def kept_secret(path: Path) -> Secret:
    """A random secret of this workspace, made at the first call; only its owner may read the file.

    Raises
    ------
    SecretError
        If others may read it, or it is too short to be one of ours: whoever knows it can sign in as anybody.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{uuid4().hex}")
        write_private(draft, secrets.token_urlsafe(48) + "\n")
        with suppress(FileExistsError):  # whoever comes second keeps what the first one made
            os.link(draft, path)
        draft.unlink()
    if others := open_to_others(path):
        raise SecretError(f"{path} is no secret any more: {others}. Remove it; a new one is made and all sign in anew.")
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if len(text) < 32:
        raise SecretError(f"{path} is damaged. Remove it; a new one is made and all sign in anew.")
    return Secret(text)


def black_out(text: str, hidden: Collection[Secret]) -> str:
    """A text without these secrets."""
    for secret in hidden:
        if len(secret.reveal()) >= SHORTEST_BLACKED_OUT:
            text = text.replace(secret.reveal(), HIDDEN)
    return text


def black_out_logs(hidden: Collection[Secret]) -> None:
    """From here on no log record of this process holds one of these secrets, tracebacks included."""
    make, formatter = logging.getLogRecordFactory(), logging.Formatter()

    def made(*arguments: object, **named: object) -> logging.LogRecord:
        record = make(*arguments, **named)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a caller's mistake, which logging itself reports
            return record
        clean = black_out(message, hidden)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info:
            record.exc_text = black_out(formatter.formatException(record.exc_info), hidden)  # handlers reuse it
        return record

    logging.setLogRecordFactory(made)
