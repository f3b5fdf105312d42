"""The sample-size calculator: the right number, the right sentence, and every error at its field."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from statistics import NormalDist

import pytest
from streamlit.testing.v1 import AppTest

from app.views.reach import reach
from app.views.sizing import Question, answer, detectable, problems
from stats.power import power_means, power_proportions

Open = Callable[..., AppTest]
Shown = Callable[[AppTest], str]
NORMAL = NormalDist()


def field(html: str, name: str) -> int:
    found = re.search(rf'data-field="{name}" data-value="(\d+)"', html)
    assert found, f"no {name} on the page"
    return int(found[1])


def by_hand(p: float, q: float, *, alpha: float = 0.05, power: float = 0.8, r: float = 1.0) -> float:
    """Control units of the unpooled two-sided test: Fleiss, Levin and Paik (2003), equation 4.14 with one variance."""
    z = NORMAL.inv_cdf(1 - alpha / 2) + NORMAL.inv_cdf(power)
    return z**2 * (p * (1 - p) + q * (1 - q) / r) / (q - p) ** 2


def test_the_first_visit_shows_a_complete_answer(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    page = open_page(tmp_path, "sample-size")
    assert not page.exception
    html = shown(page)
    expected = math.ceil(by_hand(0.10, 0.105))
    assert (field(html, "control"), field(html, "total")) == (expected, 2 * expected)
    assert f"needs {2 * expected:,} units, {expected:,} in each of 2 arms" in words(html)


def words(html: str) -> str:
    return re.sub(r"\s+([,.:)])", r"\1", re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))))


def test_the_address_holds_the_question(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    page = open_page(
        tmp_path,
        "sample-size",
        baseline="20",
        effect="2",
        scale="Absolute",
        treatments="3",
        control_share="40",
        alpha="1",
        power="90",
        daily="1000",
    )
    control = math.ceil(by_hand(0.20, 0.22, alpha=0.01 / 3, power=0.9, r=0.5))
    html = shown(page)
    assert field(html, "control") == control
    assert field(html, "treatment") == pytest.approx(control / 2, abs=1)
    assert field(html, "days") == math.ceil(field(html, "total") / 1000)


def test_a_changed_field_changes_the_answer(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    page = open_page(tmp_path, "sample-size")
    page.number_input(key="effect").set_value(10.0).run()
    assert field(shown(page), "control") == math.ceil(by_hand(0.10, 0.11))


def test_means_use_the_noncentral_t(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    html = shown(open_page(tmp_path, "sample-size", metric="Mean", mean="50", sd="20", effect="20"))
    n = field(html, "control")
    assert float(power_means(10.0, 20.0, n)) >= 0.8 > float(power_means(10.0, 20.0, n - 1))
    # R: power.t.test(delta = 10, sd = 20, power = 0.8) gives n = 63.76576.
    assert n == 64


def test_several_treatments_state_the_correction(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    bonferroni = shown(open_page(tmp_path, "sample-size", treatments="3"))
    dunnett = shown(open_page(tmp_path, "sample-size", treatments="3", correction="Dunnett"))
    assert "3 treatments share them by Bonferroni" in words(bonferroni)
    assert "3 treatments share them by Dunnett" in words(dunnett)
    assert field(dunnett, "control") < field(bonferroni, "control")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"baseline": "0"}, "A conversion rate lies between 0% and 100%"),
        ({"baseline": "100"}, "A conversion rate lies between 0% and 100%"),
        ({"effect": "0"}, "Enter a change other than 0"),
        ({"baseline": "60", "effect": "80"}, "would take the rate to 108%"),
        ({"effect": "-100"}, "would take the rate to 0%"),
        ({"treatments": "0"}, "Between 1 and 20 treatments"),
        ({"treatments": "1.5"}, "Between 1 and 20 treatments"),
        ({"control_share": "100"}, "Control's share lies between"),
        ({"alpha": "0"}, "The false-positive rate lies above 0%"),
        ({"alpha": "51"}, "The false-positive rate lies above 0%"),
        ({"power": "100"}, "Power lies between"),
        ({"power": "4"}, "Power must exceed the false-positive rate"),
        ({"success_metrics": "0"}, "Between 1 and 50 success metrics"),
        ({"daily": "-3"}, "Enter a positive number of units per day"),
        ({"metric": "Mean", "sd": "0"}, "The standard deviation must be a positive number"),
        ({"metric": "Mean", "mean": "0"}, "A relative change needs a mean other than 0"),
    ],
)
def test_an_impossible_input_is_explained_at_its_field(
    open_page: Open, shown: Shown, tmp_path: Path, query: dict[str, str], message: str
) -> None:
    page = open_page(tmp_path, "sample-size", **query)
    assert not page.exception
    assert [error.value for error in page.error if message in error.value], [error.value for error in page.error]
    assert "Some inputs need a correction" in shown(page)
    assert "data-field" not in shown(page)


@pytest.mark.parametrize(
    "query", [{"baseline": "nan"}, {"treatments": "inf"}, {"alpha": "abc"}, {"metric": "Median"}, {"sides": "<script>"}]
)
def test_nonsense_in_the_address_never_breaks_the_page(
    open_page: Open, shown: Shown, tmp_path: Path, query: dict[str, str]
) -> None:
    page = open_page(tmp_path, "sample-size", **query)
    assert not page.exception
    assert "Something went wrong" not in shown(page)


def test_an_absurdly_small_change_is_refused_in_words(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    page = open_page(tmp_path, "sample-size", effect="0.0000001")
    assert "More than a trillion units" in shown(page)


def test_the_calculator_needs_no_workspace(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    assert "needs" in shown(open_page(tmp_path / "nowhere", "sample-size"))


@pytest.mark.parametrize("sides", ["two-sided", "one-sided"])
@pytest.mark.parametrize("effect", [0.1, -0.1])
@pytest.mark.parametrize("kind", ["proportion", "mean"])
def test_the_curve_passes_through_the_planned_sample(kind: str, effect: float, sides: str) -> None:
    question = Question(kind=kind, baseline=0.2, effect=effect, sides=sides, sd=0.5)  # type: ignore[arg-type]
    result = answer(question)
    assert result is not None
    found = detectable(question, (result.total,))[0]
    assert found == pytest.approx(question.change, rel=2e-3, abs=0)


def test_power_at_the_planned_sample_is_what_was_asked_for() -> None:
    question = Question(baseline=0.3, effect=0.07, control_share=0.2, treatments=2, success_metrics=2)
    result = answer(question)
    assert result is not None
    power = power_proportions(
        0.3, 0.321, result.control, alpha=0.025, treatments=2, allocation=2.0, correction="bonferroni"
    )
    assert float(power) == pytest.approx(0.8, abs=1e-4)


def test_the_chart_marks_the_planned_week_however_far_away() -> None:
    question = Question(effect=0.01, daily=2000.0)
    result = answer(question)
    assert result is not None
    assert result.weeks is not None
    curve = reach(question, result)
    assert [point.position for point in curve.points if point.planned] == [result.weeks]
    assert [point.change for point in curve.points] == sorted((point.change for point in curve.points), reverse=True)


def test_a_finer_change_never_needs_fewer_units() -> None:
    sizes = []
    for effect in (0.2, 0.1, 0.05, 0.02, 0.01):
        result = answer(replace(Question(), effect=effect))
        assert result is not None
        sizes.append(result.total)
    assert sizes == sorted(sizes)


def test_a_sound_question_has_no_problems() -> None:
    assert problems(Question()) == {}


def test_the_chart_is_plain_data(open_page: Open, tmp_path: Path) -> None:
    page = open_page(tmp_path, "sample-size", daily="5000")
    spec = json.loads(page.get("vega_lite_chart")[0].proto.spec)
    assert "http" not in json.dumps({key: value for key, value in spec.items() if key != "$schema"})
