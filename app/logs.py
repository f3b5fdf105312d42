"""Logs on a terminal: a record is one line, whatever stands in the texts it quotes."""

from __future__ import annotations

import logging
import sys

from pipelines.formatting import for_terminal, in_one_line


class Lines(logging.Formatter):
    """Records whose messages can neither begin another line nor move a terminal; tracebacks keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record's own line."""
        return in_one_line(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback where there is one."""
        return for_terminal(super().format(record))


def log_to_stderr() -> None:
    """Show records from INFO on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
