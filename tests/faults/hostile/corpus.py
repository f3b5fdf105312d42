"""Texts made to do harm: to SQL, templates, HTML, Markdown, spreadsheets, paths, terminals, mail, shells and eyes.

`{outside}` in them is a folder in which nothing may ever appear.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

CORPUS = [
    "'; DROP TABLE events; --",
    '"; DELETE FROM events; --',
    "x'); COPY (SELECT 1) TO '{outside}/out.csv'; --",
    "WITH d AS (DELETE FROM events RETURNING *) SELECT * FROM d",
    "' UNION SELECT content FROM read_text('/etc/passwd') --",
    "$$; ATTACH '{outside}/out.db'; $$",
    "-- comment",
    "/* comment",
    "{{7*7}}{% import os %}${{7*7}}#{{7*7}}",
    "{0.__class__.__mro__}%s%n%(x)s",
    "<script>window.pwned=1;alert(1)</script>",
    "<img src=x onerror=window.pwned=1>",
    '"><svg onload=window.pwned=1>',
    "javascript:window.pwned=1",
    "[click](javascript:window.pwned=1) **bold** `code` $x$ :red[x]",
    "</style></title></textarea><script>window.pwned=1</script>",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1-1",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "file:///etc/passwd",
    "CON",
    "admin\u202egnp.exe",
    "chec\u200bkout",
    "сheckout",
    "\ufeffcheckout",
    "e\u0301\u0301\u0301" * 20,
    "\U0001f469\u200d\U0001f4bb",
    "\x1b[2J\x1b]0;pwned\x07",
    "a\r\nSet-Cookie: x=1",
    "a\x00b",
    "x" * 20_000,
    "$(touch {outside}/out)",
    "`touch {outside}/out`; | touch {outside}/out",
    "-rf",
    "--workspace=/etc",
    "<iframe src=//evil.example/f></iframe><a href=//evil.example/a>a</a>",
    "![x](https://evil.example/x.png) <https://evil.example/> www.evil.example",
    "b\n\n# pwned-heading\n\n- item\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nBcc: victim@evil.example",
    "\u2067turned\u202dand never back \u2028Error: forged line",
    "c1 \x9b2J\x85 del \x7f soft\xad join\u2060 tag\U000e0041",
]
NAMES = [f"{number}-{text[:12]!r}" for number, text in enumerate(CORPUS)]


def armed(outside: Path) -> list[str]:
    """The corpus with a real folder in it."""
    return [text.replace("{outside}", str(outside)) for text in CORPUS]


def raw(text: str) -> set[str]:
    """Letters of a text that no terminal should get: controls, unseen and direction letters, separators of lines."""
    return {
        letter for letter in text if letter != "\n" and unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    }
