from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.definitions.mappings.catalog import UnknownMappingError, find_mappings, load_mapping, mapping_problems
from pipelines.definitions.mappings.mapping import merged
from pipelines.definitions.mappings.paths import Every, Lookup, Name, Path, PathError, Place, read_path
from pipelines.definitions.problems import DefinitionError

OWN = """\
title = "Our log"

[events]
when = [{ path = "kind", equals = "done" }]
unit_id = ["user.id", "anonymous"]
event = "what"
occurred_at = { path = "at", unit = "milliseconds" }
"""


@pytest.fixture
def write(tmp_path):
    def writing(name: str, text: str) -> None:
        (tmp_path / "mappings").mkdir(exist_ok=True)
        (tmp_path / "mappings" / f"{name}.toml").write_text(text, encoding="utf-8")

    return writing


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a", (Name("a"),)),
        ("$insert_id", (Name("$insert_id"),)),
        ("a.b-c.$d", (Name("a"), Name("b-c"), Name("$d"))),
        ('a."b.c d".e', (Name("a"), Name("b.c d"), Name("e"))),
        ("a[0].b[12]", (Name("a"), Place(0), Name("b"), Place(12))),
        ("a[key=x y].v", (Name("a"), Lookup("key", "x y"), Name("v"))),
        ('a[key="x]y"]', (Name("a"), Lookup("key", "x]y"))),
    ],
)
def test_paths_are_names_positions_and_lookups(text, steps) -> None:
    assert read_path(text) == Path(steps=steps)


def test_a_path_may_start_at_the_item_and_each_may_take_every_element() -> None:
    assert read_path("@.a") == Path(steps=(Name("a"),), of_item=True)
    assert read_path("@") == Path(steps=(), of_item=True)
    assert read_path("a[*].b[*]", every=True) == Path(steps=(Name("a"), Every(), Name("b"), Every()))


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "a[", "a[x]", "a[*]", "a.@", "[0]", 'a."', "a'b", "a[k=]"]
)
def test_what_is_no_path_is_refused(text) -> None:
    with pytest.raises(PathError):
        read_path(text)


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_refused(text) -> None:
    try:
        path = read_path(text, every=True)
    except PathError:
        return
    assert path.steps or path.of_item


def test_a_workspace_has_its_own_mappings_beside_those_that_come_with_rampwise(write, tmp_path) -> None:
    write("our_log", OWN)
    found = find_mappings(tmp_path)
    assert found["our_log"].own
    assert found["our_log"].mapping.events.unit_id.path == ("user.id", "anonymous")
    assert found["our_log"].mapping.source_name == "our_log"
    assert not found["segment"].own
    assert set(find_mappings(None)) == set(found) - {"our_log"}
    assert mapping_problems(tmp_path) == ()


def test_a_mapping_extends_another_table_by_table(write, tmp_path) -> None:
    write(
        "segment",
        'extends = "segment"\n[exposures.experiment.names]\n"8756" = "checkout"\n'
        '[exposures.variant.names]\n"1" = "one_page"\n[events]\nvalue = "properties.total"\n',
    )
    changed, base = load_mapping(tmp_path, "segment"), load_mapping(None, "segment")
    assert changed.exposures.experiment.names == {"8756": "checkout"}
    assert changed.exposures.experiment.path == base.exposures.experiment.path
    assert changed.events.value.path == ("properties.total",)
    assert changed.events.unit_id == base.events.unit_id
    assert changed.source_name == "segment"
    assert merged({"a": "x", "b": {"c": 1}}, {"a": {"names": {}}, "b": {"d": 2}}) == {
        "a": {"path": "x", "names": {}},
        "b": {"c": 1, "d": 2},
    }


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (("unit_id =", "unitid ="), "events.unitid", "Did you mean 'unit_id'"),
        (('"what"', '"what."'), "events.event.path[0]", "ends in a dot"),
        (('"what"', "{}"), "events.event", "needs either path or constant"),
        (('"what"', '{ path = "a", constant = "b" }'), "events.event", "needs either path or constant"),
        (('"what"', '{ path = "a", pattern = "abc" }'), "events.event.pattern", "exactly one group"),
        (('"what"', '{ path = "a", pattern = "(?=a)(b)" }'), "events.event.pattern", "look-around"),
        (('"milliseconds"', '"millis"'), "events.occurred_at.unit", "Did you mean 'milliseconds'"),
        (('equals = "done"', "present = 1"), "events.when[0].present", "true or false"),
        (('equals = "done"', 'equals = "done", present = true'), "events.when[0]", "exactly one of"),
        (('"what"', '"@.what"'), "events", "no `each`"),
        (('title = "Our log"', ""), "title", "is missing"),
        (('title = "Our log"', 'title = "x"\nextends = "segmnt"'), "extends", "Did you mean 'segment'"),
        (('title = "Our log"', 'title = "x"\nname = "other"'), "name", "leave it out"),
        (("[events]", "[events.attributes]\nvalue = 'a'\n[events]"), "events", "cannot be an attribute"),
        (('title = "Our log"', 'title = "x"\nsource = 3'), "source", "text in quotes"),
        (("[events]", "[events"), "", "cannot be read as TOML"),
    ],
)
def test_a_mistake_names_file_and_field(write, tmp_path, change, place, words) -> None:
    write("our_log", OWN.replace(*change))
    lines = [problem.line() for problem in mapping_problems(tmp_path)]
    assert any(line.startswith(f"mappings/our_log.toml: {place}") and words in line for line in lines), lines
    with pytest.raises(DefinitionError):
        find_mappings(tmp_path)


def test_a_mapping_that_says_nothing_and_one_that_does_not_exist(write, tmp_path) -> None:
    write("our_log", 'title = "Empty"\n')
    assert "needs a table [exposures], [events] or both" in mapping_problems(tmp_path)[0].line()
    with pytest.raises(UnknownMappingError, match="Did you mean 'segment'"):
        load_mapping(None, "segmnet")
    assert tomllib.loads(OWN)["title"] == "Our log"
