"""Whatever a TOML file holds, the answer is a list of problems, never a crash."""

import json
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipelines.definitions
from pipelines.definitions import loader
from pipelines.definitions.problems import DefinitionError

EXAMPLES = Path(pipelines.definitions.__file__).parent / "examples"
TABLES = {
    f"{path.parent.name}/{path.name}": tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted(EXAMPLES.rglob("*.toml"))
}
KEYS = st.sampled_from(
    [*sorted({key for table in TABLES.values() for key in table}), "name", "metric", "share", "margin", "", "x y", "é"]
)
SCALARS = (
    st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | st.just(datetime(2025, 1, 1, tzinfo=UTC))
    | st.just(datetime(2025, 1, 1))  # noqa: DTZ001 - naive on purpose
    | st.just(date(2025, 1, 1))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@pytest.mark.parametrize("label", list(TABLES))
@settings(max_examples=40, deadline=None)
@given(changes=st.dictionaries(KEYS, VALUES, max_size=3), dropped=st.sets(KEYS, max_size=2))
def test_any_change_to_an_example_gives_problems_that_can_be_printed(label, changes, dropped, tmp_path_factory):
    table = {key: value for key, value in {**TABLES[label], **changes}.items() if key not in dropped}
    root = tmp_path_factory.mktemp("team")
    folder = root / label.split("/")[0]
    folder.mkdir()
    (root / label).write_text("stand_in = 1\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader.tomllib, "loads", lambda _: dict(table))
        problems = [p for p in loader.find_problems(root) if p.file != "rampwise.toml"]
        for problem in problems:
            assert problem.line().startswith(f"{label}: ")
            json.dumps(problem.as_dict(), allow_nan=False)
        if problems:
            with pytest.raises(DefinitionError):
                loader.load_definitions(root)
        else:
            (found,) = [each for group in vars_of(loader.load_definitions(root)) for each in group.values()]
            assert len(loader.definition_hash(found)) == 64


def vars_of(definitions):
    return definitions.metrics, definitions.experiments, definitions.reports
