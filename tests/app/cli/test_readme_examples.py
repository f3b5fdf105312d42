"""What the README shows is what rampwise reads and prints."""

import re
from pathlib import Path

from pipelines.definitions.loader import find_problems

README = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")


def test_the_definitions_in_the_readme_are_valid(team):
    shown = re.findall(r"```toml\n# ((?:metrics|experiments|reports)/\w+\.toml).*?\n(.*?)```", README, re.DOTALL)
    assert [name.split("/")[0] for name, _ in shown] == ["metrics", "metrics", "experiments", "reports"]
    for name, text in shown:
        assert name == "metrics/big_orders.toml" or (team / name).exists(), "the README shows one of the examples"
        (team / name).write_text(text, encoding="utf-8")
    assert find_problems(team) == ()


def test_the_mistakes_in_the_readme_are_reported_word_for_word(rampwise, team):
    for name, old, new in (
        ("metrics/order_value.toml", "better", "beter"),
        ("experiments/signup_page.toml", "2025-03-03T00:00:00Z", "2025-03-03T00:00:00"),
        ("experiments/signup_page.toml", '"signup_rate"', '"signup_rte"'),
    ):
        path = team / name
        path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    shown = re.search(r"```console\n\$ rampwise validate\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    assert rampwise("-w", team, "validate").stdout == shown[1]
