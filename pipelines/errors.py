"""Errors of the pipelines room: what was found, why it is wrong, what to do."""

from __future__ import annotations


class PipelineError(ValueError):
    """Base of every error this room raises on purpose; the message is written for the person at the keyboard."""


class UsageError(PipelineError):
    """What was asked for, or written in a definition, is wrong: commands answer with exit code 2 instead of 1."""
