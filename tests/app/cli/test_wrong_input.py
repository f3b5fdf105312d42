"""What is mistyped is refused in words: what was found, why it is wrong, what to do; and nothing is written."""

import pytest


@pytest.mark.parametrize("name", ["x y", "New-Checkout", "../checkout"])
def test_a_rollout_gets_no_name_that_would_break_the_workspace(rampwise, team, name):
    result = rampwise("-w", team, "rollout", "new", name)

    assert result.exit_code == 2
    assert "cannot be a rollout's name: it must start with a lower-case letter" in result.output
    assert not (team / "rollouts").exists()
    assert not (team / "checkout.toml").exists()
    assert rampwise("-w", team, "validate").exit_code == 0


@pytest.mark.parametrize("command", [["restatements"], ["decisions"]])
def test_lists_of_an_experiment_that_does_not_exist_say_so_and_name_the_nearest(rampwise, team, command):
    result = rampwise("-w", team, *command, "signup_pge")

    assert result.exit_code == 2
    assert "No experiment is called 'signup_pge'. Did you mean 'signup_page'?" in result.output
    assert rampwise("-w", team, *command, "signup_page").exit_code == 0


def test_deliveries_of_a_report_that_does_not_exist_name_the_nearest(rampwise, team):
    result = rampwise("-w", team, "report", "deliveries", "wekly")

    assert result.exit_code == 2
    assert "No report is called 'wekly'. Did you mean 'weekly'?" in result.output


def test_the_audit_log_is_not_called_empty_because_a_name_is_not_in_it(rampwise, team):
    rampwise("-w", team, "report", "run", "--due")

    assert "The audit log has no row about 'nope'" in rampwise("-w", team, "audit", "list", "nope").output


def test_a_folder_is_no_file_to_write_to(rampwise, team, tmp_path):
    result = rampwise("-w", team, "report", "render", "--report", "weekly", "--out", tmp_path)

    assert result.exit_code == 1
    assert "is a folder; name a file in it" in result.output


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["power", "--baseline", "abc"], "'abc': must be a valid number."),
        (["dashboard", "--port", "http"], "'http': must be a valid integer."),
        (["schema", "metrc"], "Did you mean 'metric'?"),
        (["power", "--baseline", "0.1", "--effect", "0.05", "--daily", "1200,many"], "'many' is no number"),
        (["power", "--baseline", "0.1", "--effect", "0.05", "--save", "x-y"], "an experiment's name must start with"),
        (["power", "--baseline", "0.1", "--effect", "0.05", "--daily", "-3"], "--daily -3: Enter a positive number"),
    ],
)
def test_a_wrong_option_is_refused_with_what_was_found_in_it(rampwise, arguments, found):
    result = rampwise(*arguments)

    assert result.exit_code == 2
    assert found in " ".join(result.output.replace("│", " ").split())
    assert "Value error" not in result.output
    assert "nan" not in result.output


def test_a_plan_without_any_baseline_says_how_to_tell_it(rampwise, team):
    result = rampwise("-w", team, "plan", "signup_page")

    assert result.exit_code == 2
    assert "None" not in result.output
    told = "--baseline signup_rate=0.12 --baseline support_contacts=25.0:60.0"
    assert told in result.output
    assert rampwise("-w", team, "plan", "signup_page", *told.split()).exit_code == 0


def test_a_weekly_without_experiments_says_that_none_ran_and_not_that_results_are_missing(rampwise, team):
    preview = rampwise("-w", team, "report", "preview", "weekly").output

    assert "Subject: Weekly results: no experiment to report" in preview
    assert "No experiment belongs in this report: none ran in its period." in preview
    assert "no results yet" not in preview


def test_digests_of_an_empty_workspace_praise_nothing(rampwise, team):
    owners = rampwise("-w", team, "report", "preview", "product_owners").output

    assert "nothing is under way" in owners
    assert "passed, and their data are fresh" not in owners
    assert "that can be decided has been" not in rampwise("-w", team, "report", "preview", "product_managers").output


def test_a_column_of_another_name_is_told_in_one_sentence_for_the_terminal(rampwise, team, tmp_path):
    file = tmp_path / "events.csv"
    file.write_text("unit_id,events,occurred_at\nu1,buy,2025-03-04T10:00:00Z\n", encoding="utf-8")
    result = rampwise("-w", team, "ingest", "events", file)

    assert result.exit_code == 1
    assert "there is no column event; the columns are unit_id, events, occurred_at." in result.output
    assert "say which one it is: `--column event=events`" in result.output
    assert rampwise("-w", team, "ingest", "events", file, "--column", "event=events").exit_code == 0
