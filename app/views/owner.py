"""The product owner's overview: what is live, stuck and unhealthy, and how well delivery works."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from app.views.defined import definitions_of
from app.views.panel import panel
from app.views.snapshots import load_looks
from pipelines.rollouts.operations import operations
from pipelines.schedule.owner_words import nothing_stuck, nothing_unhealthy, owner_tiles


def show() -> None:
    """The page."""
    st.title("Product owner's overview", anchor=False)
    looks = load_looks()
    if not looks.workspace.state_path.exists():
        panel(
            "state.html",
            key="nothing",
            glyph="○",
            title="Nothing has happened yet",
            text="No experiment was analysed and no release was started in this workspace.",
            steps=("Run `rampwise analyze`, or start a release with `rampwise rollout start NAME`.",),
        )
        return
    definitions = definitions_of(looks.workspace.root)
    found = operations(looks.workspace, definitions, tuple(looks.snapshots.values()), now=datetime.now(UTC))
    panel(
        "owner.html",
        key="owner",
        found=found,
        tiles=owner_tiles(found),
        nothing_stuck=nothing_stuck(found),
        nothing_unhealthy=nothing_unhealthy(found),
    )
