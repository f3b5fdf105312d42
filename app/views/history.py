"""The rows of the audit log about one experiment, for those who may read it."""

from __future__ import annotations

import json
from datetime import datetime

import streamlit as st

from app.views.gate import current_actor
from app.views.panel import panel
from pipelines.access.roles import Action
from pipelines.config import Workspace
from pipelines.reports import presentation
from pipelines.reports.tables import Table
from pipelines.store.audit_check import read_audit

MOST_ROWS = 50


def show_history(workspace: Workspace, experiment: str) -> None:
    """Who did what to an experiment, the newest first; nothing for those who may not read the log."""
    actor = current_actor()
    if actor is None or not actor.may(Action.READ_AUDIT):
        return
    with st.expander("History: who did what, from the audit log"):
        rows = read_audit(workspace.state_path, actor=actor, subject=experiment)
        table = Table(
            key="history",
            title="",
            header=("When", "Who", "What", "Details"),
            rows=tuple(
                (
                    presentation.time(datetime.fromisoformat(row.at)),
                    row.actor.partition(":")[2] or row.actor,
                    row.action.replace("_", " "),
                    ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in json.loads(row.details).items()),
                )
                for row in reversed(rows[-MOST_ROWS:])
            ),
            notes=(f"The newest {MOST_ROWS} of {len(rows)} rows.",) if len(rows) > MOST_ROWS else (),
        )
        panel("history.html", key="history", table=table)
