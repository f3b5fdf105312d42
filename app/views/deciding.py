"""What people decided about an experiment, and the form with which they do."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from app.views.gate import current_actor
from app.views.markdown import sentences
from app.views.panel import panel
from pipelines.access.roles import Action
from pipelines.config import Workspace
from pipelines.errors import PipelineError
from pipelines.reports import presentation
from pipelines.store.human_decisions import LONGEST_REASON, MAY_BE_DECIDED, decide, human_decisions
from pipelines.store.snapshot import Snapshot
from stats.verdicts import Decision


def show_decided(workspace: Workspace, snapshot: Snapshot) -> None:
    """Decisions of people about this experiment, the latest first; nothing where there are none."""
    rows = human_decisions(workspace.state_path, snapshot.experiment)
    if rows:
        words = [
            (row, presentation.decision_word(row.decision), presentation.decision_word(row.computed)) for row in rows
        ]
        panel("decided.html", key="decided", rows=list(reversed(words)), snapshot=snapshot)


def show_form(workspace: Workspace, snapshot: Snapshot) -> None:
    """The form; for those who may not decide, who may."""
    with st.expander("Record what you decide"):
        actor = current_actor()
        if actor is None or not actor.may(Action.OVERRIDE_DECISION):
            st.caption("Deciding takes the role editor or admin. Ask an admin of this workspace.")
            return
        st.caption(
            "The computed decision and its numbers stay as they are; yours stands beside them, with your name and "
            "reason, and in the audit log."
        )
        # One form per experiment: what was begun for one is not sent for another.
        with st.form(f"decide_{snapshot.experiment}", border=False):
            words = {each: presentation.decision_word(each).label for each in MAY_BE_DECIDED}
            chosen = st.radio(
                "Decision", list(words), format_func=lambda each: words[each], horizontal=True, index=None
            )
            reason = st.text_area("Reason", max_chars=LONGEST_REASON, placeholder="Why, in one sentence")
            if not st.form_submit_button("Record this decision", type="primary"):
                return
        if chosen is None:
            st.error("Choose a decision.")
            return
        try:
            decide(workspace.state_path, snapshot, Decision(chosen), reason, actor=actor, now=datetime.now(UTC))
        except PipelineError as error:
            st.error(sentences(str(error)))
            return
        st.rerun()
