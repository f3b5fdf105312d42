"""Texts from outside as Markdown: only what they say."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from app.views.markdown import plain, sentences


@pytest.mark.parametrize(
    "text",
    [
        "**b** _i_ `c`",
        "![x](y)",
        "[x](y)",
        "<b>",
        "# h",
        "- a",
        "1. a",
        "a\n\n> b",
        "| a |\n|---|",
        "&lt;",
        "a\\",
        "~~a~~",
    ],
)
def test_a_plain_text_is_one_paragraph_of_text(text: str) -> None:
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(plain(text))
    assert [each.type for each in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    inner = tokens[1].children or []
    assert {each.type for each in inner} <= {"text", "text_special"}
    assert "".join(each.content for each in inner) == " ".join(text.split())


def test_commands_in_a_sentence_are_code_and_nothing_else_is_anything() -> None:
    told = sentences("No [rollout](x) here: run `rampwise rollout new NAME`, or `a.")
    [_, inline, _] = MarkdownIt("commonmark").parse(told)
    codes = [each.content for each in inline.children or [] if each.type == "code_inline"]
    assert codes == ["rampwise rollout new NAME"]
    assert not [each for each in inline.children or [] if each.type not in {"text", "text_special", "code_inline"}]


@pytest.mark.parametrize(
    "text", ["https://evil.example/x", "HTTP://evil.example", "www.evil.example", "a@evil.example"]
)
def test_an_address_stays_a_text_also_where_signs_lose_their_backslashes(text: str) -> None:
    written = plain(text).replace("\\", "")
    assert text not in written
    assert written.replace("\u2060", "") == text
