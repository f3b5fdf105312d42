"""A notebook that recomputes a snapshot's numbers: an `.ipynb` of format 4.5, without outputs.

Nothing that a user wrote becomes code or Markdown: the snapshot enters as one JSON text in one string literal, and the
notebook shows names by printing them.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.reports.readable import readable
from pipelines.store.snapshot import Snapshot, to_json

TITLE = """# The numbers of one snapshot, computed again

This notebook holds the frozen results of one look at one experiment. It computes effect, interval, p-value and lift of
every comparison again, from the units, means and variances per variant, with public functions of `stats`, and stops if
one differs from the stored number by more than 1e-9 of its size. Run it where rampwise is installed."""
METHOD = """## Method

Fixed designs: Welch's t for the difference, Fieller's interval for the lift; proportions with few conversions by score
intervals and an exact test. The functions below are those of rampwise itself.

Numbers that a snapshot does not hold enough to recompute (sequential designs, effects adjusted for covariates) are
**quoted, not recomputed**, and the table says so. A guardrail's verdict is computed again from the recomputed interval;
the verdict of other metrics is quoted."""
RECOMPUTE = (
    "## Every comparison\n\nThe stored number, whether it was computed again, and how far from it that came out."
)
LAST = "## The decision, as it was stored"

SHOW = """failed, again = [], 0
for metric in snapshot["metrics"]:
    for comparison in metric["comparisons"]:
        print(f"\\n{metric['metric']!r}, {comparison['treatment']!r} against {snapshot['control']!r}")
        print(f"  method {comparison['method']}, valid {comparison['validity']}")
        print(f"  verdict {comparison['verdict'] or 'withheld'}")
        print(f"  {comparison['reason']!r}")
        for arm in metric["arms"]:
            if arm["variant"] in (snapshot["control"], comparison["treatment"]):
                print(f"  {arm['variant']!r}: {arm['n']} units, mean {arm['mean']!r}")
        if comparison["validity"] == "fixed":
            early = snapshot["phase"] != "ended"
        else:
            early = comparison["verdict"] is None and not blocked
        quoted = why_quoted(metric, comparison)
        found = {} if quoted else recomputed(metric, comparison, snapshot["control"])
        if quoted:
            print(f"  quoted, not recomputed: {quoted}")
            for name in () if early else ("difference", "low", "high", "p_value", "lift"):
                print(f"  {name:<12} {comparison[name]!r}")
            continue
        again += 1
        if early:
            print("  recomputed, but not shown: this plan does not judge yet")
        else:
            for name, value in found.items():
                print(f"  {name:<14} {value!r}")
        failed += [(metric["metric"], comparison["treatment"], name) for name in differences(found, comparison)]

assert not failed, failed
print(f"\\n{again} comparisons recomputed; their numbers are the stored ones to 1e-9.")"""
DECIDED = """print(snapshot["decision"]["decision"])
print(repr(snapshot["decision"]["headline"]))
for reason in snapshot["decision"]["reasons"]:
    print(" -", repr(reason))"""


def snapshot_notebook(snapshot: Snapshot) -> str:
    """The notebook as text (JSON of nbformat 4.5), the same for the same snapshot.

    Raises
    ------
    OSError
        If the installed package lacks the file that the notebook shows.
    """
    data = json.dumps(json.loads(to_json(readable(snapshot))))  # people read the cells before they run them
    load = f'import json\n\nsnapshot = json.loads(\n    {data!r}\n)\nprint("snapshot", repr(snapshot["snapshot_id"]))'
    functions = Path(__file__).with_name("recompute.py").read_text(encoding="utf-8")
    v4: Any = import_module("nbformat.v4")  # it has no types
    cells = [
        v4.new_markdown_cell(TITLE),
        v4.new_code_cell(load),
        v4.new_markdown_cell(METHOD),
        v4.new_code_cell(functions),
        v4.new_markdown_cell(RECOMPUTE),
        v4.new_code_cell(SHOW),
        v4.new_markdown_cell(LAST),
        v4.new_code_cell(DECIDED),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same notebook for the same snapshot
    book: Any = v4.new_notebook(cells=cells)
    book["metadata"] = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps(book, indent=1) + "\n"
