"""Properties are not timed: how busy the machine is must not decide a test.

A run on a developer's machine draws new examples; CI draws the same ones and judges a change by what changed.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("untimed", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("untimed")
