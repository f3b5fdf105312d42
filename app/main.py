"""The dashboard's entry for Streamlit. Start it with `rampwise dashboard`, which sets what must be set."""

from __future__ import annotations

from app.views.frame import run

run()
