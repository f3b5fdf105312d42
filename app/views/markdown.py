"""Texts from outside where Streamlit takes Markdown: headings of charts, captions, messages."""

from __future__ import annotations

import re
from string import punctuation

from pipelines.formatting import for_page

_SIGN = re.compile(f"[{re.escape(punctuation)}]")
_CODE = re.compile("(`[^`]+`)")
_ADDRESS = re.compile(r"(?i)(https?://|www(?=\.)|@)")
_JOINER = "\u2060"


def plain(text: str) -> str:
    """A text without meaning to Markdown: no link, no picture, no formula, no colour, in one paragraph.

    Addresses become links after signs have lost their meaning: an unseen joiner, which has no width, keeps them texts.
    """
    return _escaped(_flat(text))


def sentences(text: str) -> str:
    """The same for a message of ours that quotes texts: `commands` between backticks are code."""
    parts = _CODE.split(_flat(text))
    return "".join(part if place % 2 else _escaped(part) for place, part in enumerate(parts))


def _flat(text: str) -> str:
    return for_page(" ".join(text.split()))


def _escaped(text: str) -> str:
    return _SIGN.sub(r"\\\g<0>", _ADDRESS.sub(rf"\g<0>{_JOINER}", text))
