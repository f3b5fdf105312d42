"""Reports as PDF: the numbers are in it, nothing is fetched, and text from outside stays text."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from pipelines.reports import pdf as module
from pipelines.reports.experiment_report import experiment_report
from pipelines.reports.pdf import PdfUnavailableError, page_pdf
from pipelines.store.snapshot import Snapshot

HOSTILE = "<img src=x onerror=alert(1)>"


def rendered(snapshot: Snapshot) -> PdfReader:
    report = experiment_report(snapshot, "pdf", rendered_at=snapshot.analysed_at)
    return PdfReader(BytesIO(report.files["pdf"]))


def test_a_pdf_holds_the_numbers_and_a_hostile_title_is_only_text(samples: Any) -> None:
    found = rendered(samples.snapshot(title=HOSTILE))
    text = "".join(" ".join(page.extract_text() for page in found.pages).split())
    assert "+12.0%" in text
    assert "+3.9%to+20.7%" in text
    assert "new_checkout-20251118T060000Z-1a2b3c" in text
    assert "<imgsrc=xonerror=alert(1)>" in text
    assert "/JavaScript" not in str(found.trailer["/Root"])
    assert [image for page in found.pages for image in page.images] == []


def test_nothing_but_data_is_ever_fetched(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import socket

    def connect(*_: object, **__: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "create_connection", connect)
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    html = (
        '<link rel="stylesheet" href="http://192.0.2.1/a.css"><style>@import "file:///etc/passwd";</style>'
        '<img src="http://192.0.2.1/a.png"><img src="file:///etc/hostname">'
        f'<img src="data:image/png;base64,{png}"><p>Here.</p>'
    )
    found = PdfReader(BytesIO(page_pdf(html)))
    assert "Here." in found.pages[0].extract_text()
    assert len(found.pages[0].images) == 1
    refused = [record.getMessage() for record in caplog.records if "disallowed protocol" in record.getMessage()]
    assert len(refused) == 4


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'weasyprint'"), OSError("cannot load libpango")]
)
def test_without_weasyprint_or_pango_the_error_says_what_to_install(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: str) -> None:
        raise error

    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(PdfUnavailableError, match=r'pip install "rampwise\[pdf\]".*libpangoft2-1.0-0') as caught:
        page_pdf("<p>Here.</p>")
    assert str(error) in str(caught.value)


def test_what_is_heavy_is_imported_only_where_it_is_wanted() -> None:
    heavy = "{'weasyprint', 'vl_convert', 'PIL', 'numpy'}"
    code = f"import sys, pipelines.schedule, pipelines.reports.pdf; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
