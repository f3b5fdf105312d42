"""A notebook that recomputes a snapshot's numbers: an `.ipynb` of format 4.5, without outputs.

Nothing that a user wrote becomes code or Markdown: the snapshot enters as one JSON text in one string literal, and the
notebook shows names by printing them.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.reports.unrevealed import without_withheld
from pipelines.store.snapshot import Snapshot, to_json

FUNCTIONS = ("recompute.py", "recompute_looks.py", "recompute_snapshot.py")
OWN_IMPORTS = re.compile(r"^from pipelines\.reports\.recompute\w* import (\([^)]*\)|.*)\n", re.MULTILINE)

TITLE = """# The numbers of one snapshot, computed again

This notebook holds the frozen results of one look at one experiment. It computes its numbers again with public
functions of `stats`: effect, interval, p-value, lift and verdict of every comparison; bounds, intervals and verdicts of
all looks of a sequential design; the effects raw, capped and adjusted, against other baselines, and by segment. It
stops if one differs from the stored number by more than 1e-9 of its size. Run it where rampwise is installed.

What the experiment's page still withholds is not in it: export it again when the page shows the effects."""
METHOD = """## Method

Everything comes from Moments: units, means and centred cross-products of the outcome and its covariates per variant.
Welch's t for the difference, Fieller's interval for the lift, Lin's regression adjustment for covariates, the delta
method for ratios; proportions with few conversions by score intervals and an exact test.

The bounds of a sequential design follow from the plan, from the days, units and standard errors of its looks, and from
the information that was planned for the end. Of earlier looks a snapshot keeps the estimates and not the means: their
lift intervals are **quoted**, and the verdicts computed from them and from the recomputed intervals of the difference.

**Quoted, not recomputed**, because it needs the values of the units: the quantile of each variant and its standard
error (the effect between two quantiles is computed again from these), and the results under other policies for units
that were seen in several variants. The notebook says so wherever it quotes. The section before the last rebuilds these
too, from the events.

The functions below are those of rampwise itself."""
RECOMPUTE = "## Every number again\n\nFirst what was computed again, then what is quoted, and why."
DECIDED_TITLE = "## The decision, as it was stored"
REBUILD_TITLE = """## The look itself, from the events

In the experiment's workspace, `rampwise analyze EXPERIMENT --as-of MOMENT` reads the events again that had been
ingested by then, says whether they give the numbers of this snapshot, and what later data changes in them. Name the
workspace's folder in `workspace` to do that here."""
LAST = "## The check"

SHOW = """found = list(checks(snapshot))
for check in found:
    print(f"\\n{check.kind}: {check.names!r}")
    if check.withheld:
        print("  withheld: this plan does not judge yet")
        continue
    if check.kind == "comparison":
        print(f"  method {check.stored['method']}, valid {check.stored['validity']}")
        print(f"  verdict {check.stored['verdict'] or 'withheld'}")
        print(f"  {check.stored['reason']!r}")
    if check.why_quoted:
        print(f"  quoted, not recomputed: {check.why_quoted}")
    if check.also_quoted:
        print(f"  quoted: {check.also_quoted}")
    for name, value in (check.stored if check.why_quoted else check.found).items():
        if value is None or isinstance(value, str | bool | int | float):
            print(f"  {name:<20} {value!r}")"""
DECIDED = """print(snapshot["decision"]["decision"])
print(repr(snapshot["decision"]["headline"]))
for reason in snapshot["decision"]["reasons"]:
    print(" -", repr(reason))"""
REBUILD = """import shlex
import subprocess

workspace = ""
command = ["rampwise", "analyze", snapshot["experiment"], "--as-of", snapshot["analysed_at"]]
print(shlex.join(command))
if workspace:
    print(subprocess.run(command, cwd=workspace, check=True, capture_output=True, text=True).stdout)"""
CHECK = """again = [check for check in found if check.recomputed]
wrong = [(check.kind, check.names, check.wrong) for check in again if check.wrong]
assert not wrong, wrong
compared = sum(check.kind == "comparison" for check in again)
looks = sum(check.kind == "look" for check in again)
print(f"{compared} comparisons recomputed; their numbers are the stored ones to 1e-9.")
print(f"{looks} looks and {len(again) - compared - looks} other effects likewise.")
print(f"{sum(bool(check.why_quoted) for check in found)} quoted, {sum(check.withheld for check in found)} withheld.")"""


def snapshot_notebook(snapshot: Snapshot) -> str:
    """The notebook as text (JSON of nbformat 4.5), the same for the same snapshot.

    What the snapshot's page withholds is left out.

    Raises
    ------
    OSError
        If the installed package lacks a file that the notebook shows.
    """
    data = json.dumps(json.loads(to_json(without_withheld(snapshot))))
    load = f'import json\n\nsnapshot = json.loads(\n    {data!r}\n)\nprint("snapshot", repr(snapshot["snapshot_id"]))'
    v4: Any = import_module("nbformat.v4")  # it has no types
    cells = [
        v4.new_markdown_cell(TITLE),
        v4.new_code_cell(load),
        v4.new_markdown_cell(METHOD),
        *(v4.new_code_cell(_functions(name)) for name in FUNCTIONS),
        v4.new_markdown_cell(RECOMPUTE),
        v4.new_code_cell(SHOW),
        v4.new_markdown_cell(DECIDED_TITLE),
        v4.new_code_cell(DECIDED),
        v4.new_markdown_cell(REBUILD_TITLE),
        v4.new_code_cell(REBUILD),
        v4.new_markdown_cell(LAST),
        v4.new_code_cell(CHECK),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same notebook for the same snapshot
    book: Any = v4.new_notebook(cells=cells)
    book["metadata"] = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps(book, indent=1) + "\n"


def _functions(name: str) -> str:
    """A file of functions, without the imports of those that the cells above it define."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return OWN_IMPORTS.sub("", text)
