"""Definitions become frozen models with canonical hashes and JSON Schemas."""

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

import pipelines.definitions
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import UnknownNameError, definition_hash, find_problems, load_definitions
from pipelines.definitions.metrics import RatioMetric, metric_events
from pipelines.definitions.reports import ReportSchedule
from pipelines.definitions.schemas import KINDS, editor_schema, write_schemas

EXAMPLES = Path(pipelines.definitions.__file__).parent / "examples"
MIDNIGHT_IN_BERLIN = datetime(2026, 3, 1, 23, tzinfo=UTC)


def test_definitions_load_as_models_named_after_their_files(root):
    found = load_definitions(root)
    assert set(found.metrics) == {"revenue", "complaints", "order_value"}
    assert isinstance(found.metrics["order_value"], RatioMetric)
    assert metric_events(found.metrics["order_value"]) == ("purchase",)
    assert found.variants == {"checkout": frozenset({"old", "new"})}
    assert found.experiment("checkout").metric_names == ("revenue", "complaints", "order_value")
    assert found.reports["weekly"].experiments == ("checkout",)
    assert found.summary() == "3 metrics, 1 experiment, 1 report"


def test_times_are_utc_inside(root):
    start = load_definitions(root).experiments["checkout"].start
    assert start == MIDNIGHT_IN_BERLIN
    assert start.utcoffset() == timedelta(0)


def test_an_unknown_experiment_is_answered_with_the_nearest(root):
    with pytest.raises(UnknownNameError, match="Did you mean 'checkout'") as caught:
        load_definitions(root).experiment("Check-out")
    assert (caught.value.name, caught.value.nearest, caught.value.known) == ("Check-out", "checkout", ("checkout",))


def test_an_empty_folder_defines_nothing(tmp_path):
    assert load_definitions(tmp_path).experiments == {}
    with pytest.raises(UnknownNameError, match="defines no experiment yet"):
        load_definitions(tmp_path).experiment("any")


def test_definitions_cannot_be_changed(root):
    with pytest.raises(ValidationError, match="frozen"):
        load_definitions(root).metrics["revenue"].event = "other"


def hashes(root: Path) -> str:
    return definition_hash(load_definitions(root).experiments["checkout"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("share = 0.5", "share = 5e-1"),
        ("[plan]", "# a comment\n[plan]\nalpha = 0.05"),
        ("2026-03-02T00:00:00+01:00", "2026-03-01T23:00:00Z"),
        ('title = "New checkout"\nunit = "user"', 'unit = "user"\ntitle = "New checkout"'),
    ],
)
def test_the_hash_ignores_how_a_definition_is_written(root, change, old, new):
    before = hashes(root)
    change("experiments/checkout.toml", old, new)
    assert hashes(root) == before
    assert len(before) == 64


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("minimum_effect = 0.02", "minimum_effect = 0.020001"),
        ("2026-03-16T00:00:00+01:00", "2026-03-16T00:00:00Z"),
        ("[plan]", "[plan]\nalpha = 0.01"),
        ('success = ["revenue"]', "success = []"),
    ],
)
def test_the_hash_changes_with_the_meaning(root, change, old, new):
    before = hashes(root)
    change("experiments/checkout.toml", old, new)
    assert hashes(root) != before


def test_an_experiment_built_in_python_is_held_to_the_same_rules(root):
    good = load_definitions(root).experiments["checkout"].model_dump()
    assert Experiment.model_validate(good) == load_definitions(root).experiments["checkout"]
    with pytest.raises(ValidationError, match=r"add up to 0\.75"):
        Experiment.model_validate({**good, "variants": [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.25}]})


def schedule(**fields) -> ReportSchedule:
    return ReportSchedule.model_validate({"name": "weekly", "cron": "0 8 * * MON", **fields})


def test_a_report_covers_what_ran_since_the_previous_slot(root):
    experiments = load_definitions(root).experiments
    start, end = experiments["checkout"].start, experiments["checkout"].end
    week = timedelta(days=7)

    def covered(report: ReportSchedule, until: datetime) -> tuple[str, ...]:
        return report.covered(experiments, since=until - week, until=until)

    assert covered(schedule(), start - timedelta(seconds=1)) == ()
    assert covered(schedule(), start) == ("checkout",)
    assert covered(schedule(), end + timedelta(days=1)) == ("checkout",), "the final result is reported"
    assert covered(schedule(), end + week) == ()
    assert covered(schedule(scope="all"), end + 10 * week) == ("checkout",)
    assert covered(schedule(experiments=["checkout"]), start - week) == ("checkout",)


@pytest.mark.parametrize("kind", KINDS)
def test_editor_schemas_are_valid_and_describe_every_key(kind):
    schema = editor_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    tables = [schema, *schema.get("$defs", {}).values()]
    keys = {name: key for table in tables for name, key in table.get("properties", {}).items() if name != "kind"}
    assert keys
    assert not [name for name, key in keys.items() if not key.get("description")]


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_satisfy_the_editor_schema_they_name(path, tmp_path):
    write_schemas(tmp_path / ".schemas")
    first = path.read_text(encoding="utf-8").splitlines()[0]
    kind = path.parent.name.removesuffix("s")
    assert first == f"#:schema ../.schemas/{kind}.schema.json"
    assert (tmp_path / ".schemas" / f"{kind}.schema.json").is_file()
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    plain = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in table.items()}
    jsonschema.validate(plain, editor_schema(kind))


def test_the_examples_are_valid_and_cover_every_kind_of_metric():
    assert find_problems(EXAMPLES) == ()
    assert {m.kind for m in load_definitions(EXAMPLES).metrics.values()} == {"proportion", "mean", "count", "ratio"}
