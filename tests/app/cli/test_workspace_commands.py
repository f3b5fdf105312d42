"""init, validate, schema and doctor, as a newcomer meets them."""

import json

import jsonschema
import pytest

EXPERIMENT = "experiments/signup_page.toml"


def test_init_makes_a_valid_workspace_with_examples_and_schemas(rampwise, tmp_path):
    result = rampwise("init", tmp_path / "new" / "team")
    assert result.exit_code == 0
    assert "9 example definitions" in result.stdout
    root = tmp_path / "new" / "team"
    assert (root / ".schemas" / "experiment.schema.json").is_file()
    assert "data/" in (root / ".gitignore").read_text(encoding="utf-8")
    checked = rampwise("--workspace", root, "validate")
    assert (checked.exit_code, checked.stdout) == (0, "No mistakes: 4 metrics, 1 experiment, 4 reports.\n")


def test_init_works_in_the_current_folder(rampwise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("ours", encoding="utf-8")
    assert rampwise("init").exit_code == 0
    assert rampwise("validate").exit_code == 0
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "ours"


def test_init_never_overwrites(rampwise, team):
    path = team / EXPERIMENT
    path.write_text("# ours\n", encoding="utf-8")
    before = sorted(team.rglob("*"))
    result = rampwise("init", team)
    assert result.exit_code == 2
    assert "exists already; nothing was changed" in result.stderr
    assert path.read_text(encoding="utf-8") == "# ours\n"
    assert sorted(team.rglob("*")) == before


def test_init_leaves_a_folder_with_only_one_conflict_alone(rampwise, tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "signup_rate.toml").write_text("# ours\n", encoding="utf-8")
    assert rampwise("init", tmp_path).exit_code == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["metrics", "signup_rate.toml"]


def test_init_keeps_a_gitignore_and_says_what_to_add(rampwise, tmp_path):
    (tmp_path / ".gitignore").write_text("ours\n", encoding="utf-8")
    result = rampwise("init", tmp_path)
    assert result.exit_code == 0
    assert "data/" in result.stderr
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8") == "ours\n"


def test_init_refuses_a_file(rampwise, tmp_path):
    (tmp_path / "file").touch()
    assert rampwise("init", tmp_path / "file").exit_code == 2


def break_two_files(team):
    for name, old, new in ((EXPERIMENT, "signup_rate", "signup_rte"), ("metrics/order_value.toml", "better", "beter")):
        path = team / name
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_validate_prints_every_mistake_and_exits_with_2(rampwise, team):
    break_two_files(team)
    result = rampwise("-w", team, "validate")
    assert result.exit_code == 2
    first, second, total = result.stdout.splitlines()
    assert first == "metrics/order_value.toml: beter = \"higher\": is not a known key. Did you mean 'better'?"
    assert second.startswith('experiments/signup_page.toml: success[0] = "signup_rte": is not defined in metrics/.')
    assert second.endswith("Did you mean 'signup_rate'?")
    assert total == "2 mistakes."


def test_validate_prints_the_same_as_json(rampwise, team):
    assert json.loads(rampwise("-w", team, "validate", "-o", "json").stdout) == {
        "valid": True,
        "problems": [],
        "warnings": [],
    }
    break_two_files(team)
    result = rampwise("-w", team, "validate", "--output", "json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["valid"], len(found["problems"])) == (2, False, 2)
    assert found["problems"][1] == {
        "file": EXPERIMENT,
        "path": "success[0]",
        "value": "signup_rte",
        "message": "is not defined in metrics/",
        "nearest": "signup_rate",
    }


@pytest.mark.parametrize("command", [("analyze",), ("ingest", "exposures", "x.csv"), ("report", "run", "--due")])
def test_commands_refuse_to_work_with_mistakes_in_definitions(rampwise, team, command):
    break_two_files(team)
    result = rampwise("-w", team, *command)
    assert result.exit_code == 2
    assert "2 mistakes in the definitions" in result.stderr
    assert "signup_rte" in result.stderr


@pytest.mark.parametrize("kind", ["metric", "experiment", "report", "settings", "results"])
def test_schemas_are_printed(rampwise, kind):
    result = rampwise("schema", kind)
    assert result.exit_code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(result.stdout))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("validte",), "Did you mean 'validate'"),
        (("schema", "metrics"), "metric"),
        (("results", "signup_pag"), "Did you mean 'signup_page'"),
        (("analyze", "signup-page"), "Did you mean 'signup_page'"),
        (("report", "render", "signup_pages"), "Did you mean 'signup_page'"),
        (("ingest", "events", "x.csv", "--column", "exposed_at"), "not of the form ours=theirs"),
        (("ingest", "events", "x.csv", "--column", "exposed_at=ts"), "none of our columns"),
        (("ingest", "events", "x.csv", "-c", "value=b", "-c", "value=c"), "given twice"),
        (("report", "run", "--due", "--now", "2026-03-02T08:00:00"), "2026-03-02T08:00:00Z"),
        (("report", "run", "--due", "--now", "monday"), "ISO 8601"),
        (("report", "run"), "--due"),
        (("dashboard", "--port", "0"), "greater than or equal to 1"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_says_what_is_right(rampwise, team, arguments, words):
    result = rampwise("-w", team, *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""


def test_outside_a_workspace_commands_say_how_to_make_one(rampwise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (("validate",), ("analyze",), ("results", "x"), ("dashboard",), ("report", "run", "--due")):
        result = rampwise(*command)
        assert result.exit_code == 2
        assert "rampwise init" in result.stderr


@pytest.mark.parametrize("command", [("results", "signup_page"), ("report", "render", "signup_page")])
def test_an_experiment_without_results_says_what_to_run(rampwise, team, command):
    result = rampwise("-w", team, *command)
    assert result.exit_code == 1
    assert "rampwise analyze signup_page" in result.stderr


def test_analyze_without_data_says_what_to_do(rampwise, team):
    result = rampwise("-w", team, "analyze")
    assert result.exit_code == 1
    assert "rampwise ingest" in result.stderr


def test_a_wrong_setting_is_wrong_usage(rampwise, team):
    (team / "rampwise.toml").write_text("port = 0\n", encoding="utf-8")
    result = rampwise("-w", team, "dashboard")
    assert result.exit_code == 2
    assert "port = 0" in result.stderr


def test_doctor_finds_a_new_workspace_healthy(rampwise, team):
    result = rampwise("-w", team, "doctor")
    assert result.exit_code == 0
    for word in ("duckdb", "port = 8501", "4 metrics, 1 experiment, 4 reports"):
        assert word in result.stdout


def test_doctor_names_what_is_broken(rampwise, team):
    break_two_files(team)
    (team / "rampwise.toml").write_text("prt = 0\n", encoding="utf-8")
    (team / "data" / "state.sqlite").write_text("not a database at all, but long enough to be read as one", "utf-8")
    (team / "data" / "warehouse.duckdb").write_text("not a database either", encoding="utf-8")
    result = rampwise("-w", team, "doctor", "--output", "json")
    assert result.exit_code == 1
    states = {finding["check"]: finding["state"] for finding in json.loads(result.stdout)["findings"]}
    assert {check for check, state in states.items() if state == "failed"} == {
        "settings",
        "definitions",
        "warehouse",
        "state",
    }


def test_doctor_works_outside_a_workspace(rampwise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = rampwise("doctor")
    assert result.exit_code == 1
    assert "rampwise init" in result.stdout
