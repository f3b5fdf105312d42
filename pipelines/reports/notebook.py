"""A snapshot as a Jupyter notebook that computes its numbers again and checks them."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import version
from typing import Any

from pipelines.reports import wording
from pipelines.reports.compose import markdown_text
from pipelines.reports.recomputed import FIELDS, TOLERANCE, recomputed
from pipelines.store.snapshot import Snapshot, to_json

_SETUP = """\
import json
import math

from stats.effect import infer
from stats.means import welch
from stats.moments import Moments

# The snapshot, as data: nothing in it is ever run.
snapshot = json.loads({snapshot})
recomputed = json.loads({plan})
print(snapshot["experiment"], snapshot["snapshot_id"], snapshot["decision"]["decision"])"""
_AGAIN = """\
def again(metric, comparison):
    \"\"\"Welch's comparison of the two arms, from their n, mean and variance.\"\"\"
    control = metric["arms"][0]
    treatment = next(arm for arm in metric["arms"] if arm["variant"] == comparison["treatment"])
    moments = [Moments.from_summary(arm["n"], arm["mean"], arm["variance"]) for arm in (control, treatment)]
    effect = welch(*moments)
    found = infer(effect, confidence=comparison["confidence"])
    return {{
        "difference": float(effect.value),
        "se": float(effect.se),
        "df": float(effect.df),
        "statistic": float(found.statistic),
        "p_value": float(found.p_value),
        "low": float(found.low),
        "high": float(found.high),
    }}


checked = 0
for metric in snapshot["metrics"]:
    for comparison in metric["comparisons"]:
        fields = recomputed[f"{{metric['metric']}}/{{comparison['treatment']}}"]
        numbers = again(metric, comparison) if fields else {{}}
        for name in fields:
            stored = comparison[name]
            assert math.isclose(numbers[name], stored, rel_tol={tolerance}, abs_tol=0.0), (metric["metric"], name)
            checked += 1
        quoted = [name for name in {names} if comparison[name] is not None and name not in fields]
        print(metric["metric"], comparison["treatment"], "again:", *fields, "| quoted:", *quoted)
print(f"{{checked}} numbers are what the snapshot says.")"""
_CHECK = """\
assert checked == sum(len(fields) for fields in recomputed.values())
assert snapshot["snapshot_id"]"""


def snapshot_notebook(snapshot: Snapshot) -> str:
    """The notebook as JSON (nbformat 4), without outputs.

    Notes
    -----
    Texts of the snapshot enter code as one JSON literal and Markdown with every sign escaped, so that no name becomes
    code or HTML. Numbers that do not follow from the stored Moments are quoted, and the notebook says which and why.
    """
    v4: Any = import_module("nbformat.v4")  # it has no types
    found = recomputed(snapshot)
    plan = {f"{each.metric}/{each.treatment}": list(each.fields) for each in found}
    word = wording.decision_word(snapshot.decision.decision)
    quoted = [f"{each.metric}, {each.treatment}: {', '.join(each.quoted)}. {each.why}" for each in found if each.quoted]
    cells = [
        v4.new_markdown_cell(
            f"# {markdown_text(snapshot.title)}\n\n{word.text}: {markdown_text(snapshot.decision.headline)}\n\n"
            f"Snapshot `{snapshot.snapshot_id}`, made with rampwise {version('rampwise')}. "
            "Run it where rampwise is installed; it reads nothing but itself."
        ),
        v4.new_code_cell(
            _SETUP.format(snapshot=_literal(to_json(snapshot)), plan=_literal(json.dumps(plan, sort_keys=True)))
        ),
        v4.new_markdown_cell(
            "## The numbers again\n\nFrom each arm's number of units, mean and variance, with public functions of "
            f"`stats`; equal to what was stored to {TOLERANCE:g}."
        ),
        v4.new_code_cell(_AGAIN.format(tolerance=repr(TOLERANCE), names=repr(FIELDS))),
        v4.new_markdown_cell(
            "## What is quoted\n\n"
            + (
                "\n".join(f"- {markdown_text(line)}" for line in quoted)
                or "Nothing: every number above was computed again."
            )
            + "\n\nFrom the events themselves: `rampwise analyze "
            + f"{snapshot.experiment} --as-of {snapshot.analysed_at.isoformat()}` rebuilds this look from what "
            "had been ingested by then."
        ),
        v4.new_code_cell(_CHECK),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same notebook for the same snapshot
    book: Any = v4.new_notebook(cells=cells)
    book["metadata"] = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _literal(text: str) -> str:
    """A Python literal of a text in plain ASCII."""
    return ascii(text)
