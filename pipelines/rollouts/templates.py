"""A commented plan to start from, per strategy."""

from __future__ import annotations

_HEAD = """#:schema ../.schemas/rollout.schema.json
# What changes, one sentence; shown on the board of releases.
title = ""
description = ""
owner = ""
strategy = "{strategy}"
# flag = "my_flag"            # the key your application asks for; the file's name unless given
# unit = "user"               # user, session, organisation or instance
"""
_RANDOMISED = """
# Who is eligible; leave out for everybody.
# [targeting]
# conditions = [{{ attribute = "country", in = ["DE", "AT"] }}]

# Each step: the share of eligible units that get it, and what it takes to go on.
[[stages]]
coverage = 0.01
minimum_hours = 1
minimum_units = 500
[[stages]]
coverage = 0.05
minimum_hours = 12
maximum_hours = 48
[[stages]]
coverage = 0.25
minimum_hours = 24
maximum_hours = 72
[[stages]]
coverage = 0.5
minimum_hours = 24
approval = {approval}

# What stops it: a metric, and how much worse it may get before that counts as harm (0.2 is 20 %).
[[guardrails]]
metric = "{metric}"
tolerance = 0.2
on_harm = "roll_back"
"""
_STEPS = """
# Waves of instances, in a random order that is drawn once; report each with `rampwise deploy mark`.
[[stages]]
coverage = 0.1
minimum_hours = 1
[[stages]]
coverage = 0.5
minimum_hours = 4
[[stages]]
coverage = 1.0
minimum_hours = 4

[[guardrails]]
metric = "{metric}"
tolerance = 0.2
"""
_SWITCH = """
# One step for everybody; report the switch (and a switch back) with `rampwise deploy mark`.
[[stages]]
coverage = 1.0
minimum_hours = 4

[[guardrails]]
metric = "{metric}"
tolerance = 0.2
"""


def rollout_template(strategy: str, *, metric: str) -> str:
    """The text of a plan that is valid where `metric` is defined."""
    body = _RANDOMISED if strategy in ("canary", "ab_test") else _STEPS if strategy == "rolling" else _SWITCH
    approval = "true" if strategy == "ab_test" else "false"
    return _HEAD.format(strategy=strategy) + body.format(metric=metric, approval=approval)
