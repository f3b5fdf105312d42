"""Where a report goes besides the outbox: mail, a webhook, a chat. Secret addresses are named, not written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.access.mail_server import MailAddress
from pipelines.definitions.definition import Definition, Name


class MailChannel(Definition):
    """Mail to people; each gets a message of their own."""

    kind: Literal["mail"]
    """Goes by the server of the setting `mail`."""
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1, max_length=100, strict=False)]
    """Addresses."""


class WebhookChannel(Definition):
    """A signed message to another system (Standard Webhooks)."""

    kind: Literal["webhook"]
    """Its address is RAMPWISE_WEBHOOK_NAME_URL, its secret RAMPWISE_WEBHOOK_NAME_SECRET, or in files (..._FILE)."""
    name: Name
    """What the variables call it."""


class ChatChannel(Definition):
    """A message to Slack, Teams and others, by apprise (`pip install "rampwise[chat]"`)."""

    kind: Literal["chat"]
    """Its apprise address is RAMPWISE_CHAT_NAME_URL, or in the file that RAMPWISE_CHAT_NAME_URL_FILE names."""
    name: Name
    """What the variable calls it."""


Channel = Annotated[MailChannel | WebhookChannel | ChatChannel, Field(discriminator="kind")]


def destinations(channels: tuple[Channel, ...]) -> tuple[str, ...]:
    """Where messages go, each once: `mail:ADDRESS`, `webhook:NAME`, `chat:NAME`."""
    found: dict[str, None] = {}
    for channel in channels:
        if isinstance(channel, MailChannel):
            found.update(dict.fromkeys(f"mail:{address}" for address in channel.to))
        else:
            found[f"{channel.kind}:{channel.name}"] = None
    return tuple(found)
