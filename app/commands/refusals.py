"""What is wrong with an option or argument, in words: what was found, why it is wrong, and what is close to it."""

from __future__ import annotations

import re

import typer


def in_words(error: typer.BadParameter) -> str:
    """The message of a refused value, without the phrases of the library that read it."""
    from pydantic import ValidationError

    if not isinstance(error.__cause__, ValidationError):
        return error.message
    first = error.__cause__.errors()[0]
    if first["type"] == "value_error":  # typer's own text of a choice names the value already
        text = first["msg"].removeprefix("Value error, ")
        return f"{text}{_nearest(str(first['input']), text)}"
    rule = first["msg"].partition(", unable to")[0].replace("Input should be", "must be")
    return f"{first['input']!r}: {rule}."


def _nearest(written: str, text: str) -> str:
    from pipelines.definitions.problems import nearest_name

    near = nearest_name(written, re.findall(r"'([^']*)'", text.partition(" is not one of ")[2]))
    return "" if near is None else f" Did you mean {near!r}?"
