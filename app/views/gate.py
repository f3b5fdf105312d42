"""The gate in front of all pages: signing in, and who somebody is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import streamlit as st

from app.views.markdown import plain
from app.views.panel import panel
from pipelines.access.actors import SignInError, local_actor, signed_in
from pipelines.access.listening import ListeningError, check_listening
from pipelines.access.roles import Action, Actor
from pipelines.config import Settings, SettingsError, WorkspaceError, find_workspace


def admitted() -> tuple[bool, Actor | None]:
    """Whether the visitor may see pages, and who they are; if not, what stands there instead tells them what to do."""
    try:
        who = current_actor()
    except WorkspaceError:
        return True, None  # there is nothing to see; every page says so
    except SettingsError as error:
        panel("state.html", key="gate", glyph="!", title="The settings cannot be used", text=str(error), steps=())
        return False, None
    except ListeningError as error:
        panel("state.html", key="gate", glyph="!", title="Nothing is shown here", text=str(error), steps=())
        return False, None
    except SignInError as error:
        _show(title="You cannot come in like this", text=str(error), button="Sign in again")
        return False, None
    if who is None:
        _show(title="Sign in to see experiments", text="This workspace is shown to people it knows.", button="Sign in")
        return False, None
    if not who.may(Action.VIEW):
        text = f"You are signed in as {who.name.removeprefix('user:')}, and this workspace gives you no role."
        _show(title="This workspace does not know you", text=text, button="Sign in as somebody else")
        st.button("Sign out", on_click=st.logout, key="sign_out")
        return False, None
    return True, who


def current_actor() -> Actor | None:
    """Who looks at the page; None where they still have to sign in. Every change of a page is made in their name.

    Raises
    ------
    WorkspaceError, SettingsError
        If there is no workspace, or its settings cannot be used: nobody is let in then.
    ListeningError
        If people need not sign in and others than this machine could come in.
    SignInError
        If what the sign-in service says about them cannot be accepted.
    """
    settings = Settings.load(find_workspace())
    if settings.login_url is None:
        check_listening(st.get_option("server.address") or "", signs_in=False)  # whoever started this, and however
        return local_actor()
    if not st.user.get("is_logged_in"):
        return None
    return signed_in(
        st.user.to_dict(),
        roles=settings.roles,
        group_roles=settings.group_roles,
        group_claim=settings.group_claim,
        default_role=settings.default_role,
        trust_email=settings.trust_email,
        session=timedelta(hours=settings.session_hours),
        now=datetime.now(UTC),
    )


def show_who(who: Actor | None) -> None:
    """In the sidebar: who is signed in, their role, and the way out."""
    if who is None or not who.name.startswith("user:"):
        return
    with st.sidebar:
        st.caption(f"{plain(who.name.removeprefix('user:'))} · {who.role}")
        st.button("Sign out", on_click=st.logout, key="sign_out")


def _show(*, title: str, text: str, button: str) -> None:
    panel("state.html", key="gate", glyph="○", title=title, text=text, steps=())
    st.button(button, on_click=st.login, type="primary", key="sign_in")
