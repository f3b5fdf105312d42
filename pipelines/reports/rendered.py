"""A report that is ready to go out: the same numbers in every form a channel may want."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedReport:
    """One report of one slot, rendered once and delivered by any number of channels.

    Attributes
    ----------
    subject
        One line with the verdict, for mail and chat; plain text.
    html
        A self-contained page: no script, no request.
    text, markdown
        The same for readers without HTML, and for chats.
    mail_html
        The page for mail programs: styles inline, pictures as ``cid:NAME``; empty where only `html` exists.
    images
        PNG pictures of `mail_html` by content id.
    files
        The forms that were asked for, by file suffix (``"html"``, ``"md"``, ``"json"``, ``"csv"``, ``"pdf"``).
    attached
        Suffixes of those that a mail carries.
    data
        What a program reads: plain JSON.
    snapshots
        Ids of the snapshots behind the numbers, by experiment.
    missing
        Experiments the report names but that have not been analysed yet.
    """

    subject: str
    html: str
    text: str
    markdown: str
    mail_html: str = ""
    images: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    data: Mapping[str, object] = field(default_factory=dict)
    snapshots: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
