"""What a reader's program makes of texts: a browser of HTML, a renderer of Markdown, a person of a terminal."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt

PANEL = Path(__file__).resolve().parents[3] / "app" / "views" / "panel.js"
PART = r"[a-z_]+=[A-Za-z0-9_.%-]*"
LINK = re.compile(
    rf"(experiment|metrics|releases|sample-size)?\?{PART}(&{PART})*|#[a-z0-9_]+|https://dashboard\.example/\S*|"
    r"cid:[a-z0-9_.@-]+"
)
PLAIN_MARKDOWN = {
    "paragraph_open", "paragraph_close", "inline", "text", "text_special", "strong_open", "strong_close", "code_inline",
    "link_open", "link_close", "heading_open", "heading_close", "bullet_list_open", "bullet_list_close",
    "list_item_open", "list_item_close",
}  # fmt: skip
FORGED = ("Set-Cookie", "# pwned", "- item", "| 1 |", "|---", "Bcc:", "Error: forged")


class Reader(HTMLParser):
    """What a browser would make of a page: its elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def addresses(self) -> list[str]:
        """Where its links and pictures lead."""
        return [value or "" for name, value in self.attributes if name in {"href", "src", "action", "srcset"}]


def allowed_tags() -> set[str]:
    """What the dashboard's own script lets stand in a panel."""
    found = re.search(r'new Set\(\("(.*?)"\)\.split', PANEL.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return set(re.sub(r'"\s*\+\s*"', "", found[1]).split())


def faults_of_html(page: str, tags: set[str]) -> list[str]:
    """What stands in a page and should not: elements, handlers, addresses, letters that turn or control."""
    read = Reader(page)
    letters = {each for each in page if unicodedata.category(each) == "Cc" and each not in "\n\t"}
    letters |= set(page) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
    return [
        *(tag for tag in read.tags if tag not in tags),
        *(name for name, _ in read.attributes if name.startswith("on")),
        *(address for address in read.addresses if not LINK.fullmatch(address)),
        *map(repr, sorted(letters)),
    ]


def faults_of_markdown(text: str) -> list[str]:
    """What Markdown makes of a text besides plain words."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        for each in (token, *(token.children or ())):
            if each.type not in PLAIN_MARKDOWN:
                found.append(each.type)
            if each.type == "link_open" and not LINK.fullmatch(str(each.attrs["href"])):
                found.append(str(each.attrs["href"]))
    return found + [repr(each) for each in text if unicodedata.category(each) == "Cc" and each != "\n"]


def faults_on_a_page(text: str) -> list[str]:
    """The same, and what Streamlit's Markdown has besides: formulas, colours, icons, addresses that become links."""
    outside = re.sub(r"`[^`]*`|\]\(sample-size[^)]*\)", "", text)
    found = re.findall(r":[a-z_/-]+[\[:]|\$", re.sub(r"\\.", "", outside))
    written = re.sub(r"\\(.)", r"\1", outside)
    return [
        *faults_of_markdown(text),
        *found,
        *re.findall(r"(?i)(?:https?://|www\.)[-.\w]+|[-.\w+]+@[-\w]+\.", written),
    ]


def forged_lines(text: str) -> list[str]:
    """Lines that a text of the corpus has begun by itself."""
    return [line[:60] for line in text.split("\n") if line.strip().startswith(FORGED)]
