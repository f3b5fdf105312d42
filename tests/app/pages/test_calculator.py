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

from app.planning.answers import plan_answer, problems
from app.planning.question import Question
from app.views.reach import reach
from app.views.sizing import answer, detectable
from pipelines.config import create_workspace
from pipelines.definitions.loader import find_problems, load_definitions
from pipelines.store.snapshot import Snapshot
from stats.baseline import Baseline
from stats.enrolment import Enrolment
from stats.group_sequential.spending import Spending
from stats.margin_sizes import sample_size_noninferiority_proportions
from stats.plan import Design, Plan, SuccessMetric
from stats.plan_price import fitting_end, price_of_peeking
from stats.plan_size import size_plan
from stats.power import power_means, power_proportions

Open = Callable[..., AppTest]
Shown = Callable[[AppTest], str]
NORMAL = NormalDist()
GROUPED = "Up to a planned end (group-sequential)"
ALWAYS = "At any time (always valid)"


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
    assert f"takes {2 * expected:,} units: {expected:,} in control, {expected:,} in treatment" in words(html)


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
    html = shown(open_page(tmp_path, "sample-size", kind="Mean", mean="50", sd="20", effect="20"))
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
        ({"daily": "many"}, "Enter a positive number of units per day"),
        ({"control_share": "50, 30, 30", "treatments": "2"}, "The shares add up to 110%, not to 100%"),
        ({"control_share": "50, 30, 20"}, "Give control's share alone, or those of all 2 arms"),
        ({"goal": "Show no harm", "effect": "-2"}, "A margin is the tolerated harm and positive"),
        ({"goal": "Show no harm", "effect": "100"}, "A margin of 100% or more tolerates everything"),
        ({"design": GROUPED, "end": "14", "looks": "7, 21"}, "Is a look after the planned end, day 14"),
        ({"design": GROUPED, "looks": "7, 3"}, "Looks are listed in order"),
        ({"design": GROUPED, "looks": "soon"}, "Enter days with commas between them"),
        ({"design": GROUPED, "sides": "One-sided"}, "are sized for a fixed design"),
        ({"end": "0"}, "Enter a number of days up to 3650"),
        ({"guardrails": "-1"}, "Between 0 and 50 guardrails"),
        ({"correlation": "1"}, "A correlation lies between"),
        ({"icc": "2"}, "The correlation within clusters lies between 0 and 1"),
        ({"cluster_size": "0"}, "A cluster has at least 1 unit"),
        ({"kind": "Mean", "sd": "0"}, "The standard deviation must be a positive number"),
        ({"kind": "Mean", "mean": "0"}, "A relative change needs a mean other than 0"),
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
    "query", [{"baseline": "nan"}, {"treatments": "inf"}, {"alpha": "abc"}, {"kind": "Median"}, {"sides": "<script>"}]
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
    assert "takes" in shown(open_page(tmp_path / "nowhere", "sample-size"))


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
    question = Question(effect=0.01, daily=(2000.0,))
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


DESIGNS = ("fixed", "group_sequential", "always_valid")
QUESTIONS = (
    Question(),
    Question(kind="mean", baseline=20.0, sd=40.0, daily=(4000.0,), correlation=0.5),
    Question(kind="ratio", baseline=5.0, sd=9.0, effect=-0.1, treatments=2, control_share=0.4, success_metrics=2),
    Question(goal="protect", effect=0.1, better="lower", daily=(3000.0, 2500.0, 2100.0, 1900.0), guardrails=0),
    Question(shares=(0.5, 0.3, 0.2), treatments=2, cluster_size=20.0, icc=0.02, guardrails=2, end=28.0),
)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("question", QUESTIONS, ids=["rate", "mean", "ratio", "no harm", "shares"])
def test_the_answer_is_the_plans_own(question: Question, design: str) -> None:
    asked = replace(question, design=design)
    assert problems(asked) == {}
    result, plan = answer(asked), plan_answer(asked)
    assert result is not None
    size = size_plan(plan.plan, plan.baselines, plan.enrolment)
    assert (result.total, result.control) == (size.units, size.arms["control"])
    again = detectable(asked, (result.total,))[0]
    assert again == pytest.approx(asked.change, rel=5e-3, abs=0)


def test_the_page_shows_the_numbers_of_the_core(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    page = open_page(tmp_path, "sample-size", design=GROUPED, daily="4000, 3600, 3300, 3100, 3000, 2900, 2800, 2750")
    daily = (4000.0, 3600.0, 3300.0, 3100.0, 3000.0, 2900.0, 2800.0, 2750.0)
    known, curve = {"rate": Baseline.of_proportion(0.1)}, Enrolment.from_daily(daily)
    start = Plan(minimum_effect=0.05, success=(SuccessMetric(name="rate"),), design=Design.GROUP_SEQUENTIAL, end=28)
    end = fitting_end(start, known, curve)
    size = size_plan(replace(start, end=end), known, curve)
    html = shown(page)
    assert field(html, "total") == size.units
    assert field(html, "expected") == math.ceil(size.needs_most.expected_h1)
    assert size.days is not None
    assert field(html, "days") == math.ceil(size.days[0])
    for price in price_of_peeking(replace(start, end=end), known, curve).prices:
        assert f"{2 * math.ceil(price.maximum / 2):,}" in words(html)
        assert f"{math.ceil(price.expected_h1):,}" in words(html)


def test_a_planned_end_that_is_too_early_names_the_remedies(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    html = words(shown(open_page(tmp_path, "sample-size", daily="2000", end="14")))
    assert "Not powered: about 28,000 units enter by day 14, 115,520 are needed" in html
    assert "Plan for 58 days instead of 14." in html
    assert "Adjust for a covariate whose correlation" in html
    assert "Not powered" not in words(shown(open_page(tmp_path, "sample-size", daily="2000", end="58")))


def test_no_harm_is_sized_by_its_margin(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    html = shown(open_page(tmp_path, "sample-size", goal="Show no harm", effect="5", scale="Absolute"))
    size = sample_size_noninferiority_proportions(0.05, 0.1, better="higher", alpha=0.025, power=0.8)
    assert field(html, "control") == math.ceil(float(size.control))
    assert "is not worse by 5 points" in words(html)


def test_a_covariate_and_clusters_change_the_variance(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    page = open_page(tmp_path, "sample-size", correlation="0.6", cluster_size="11", icc="0.05")
    assert field(shown(page), "control") == math.ceil(by_hand(0.1, 0.105) * 0.64 * 1.5)


def test_control_is_offered_its_best_share(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    even = shown(open_page(tmp_path, "sample-size", treatments="4"))
    assert "fewest units if control gets 32.9%" in words(even)
    best = shown(open_page(tmp_path, "sample-size", treatments="4", control_share="32.9"))
    assert field(best, "total") < field(even, "total")
    assert "best_share" not in best


@pytest.mark.parametrize("design", [GROUPED, ALWAYS])
def test_every_design_says_why(open_page: Open, shown: Shown, tmp_path: Path, design: str) -> None:
    html = words(shown(open_page(tmp_path, "sample-size", design=design, daily="4000")))
    assert "than a single look" in html
    assert "would find an effect where there is none" in html


def test_the_fields_start_from_an_experiment(
    open_page: Open, shown: Shown, write: Callable[..., Path], made: dict[str, Snapshot]
) -> None:
    root, ship = write(*made.values()), made["ship"]
    page = open_page(root, "sample-size", experiment=ship.experiment, metric="revenue")
    assert not page.exception
    control = next(each for each in ship.metrics if each.metric == "revenue").arms[0]
    assert page.number_input(key="mean").value == control.mean
    assert control.variance is not None
    assert page.number_input(key="sd").value == pytest.approx(math.sqrt(control.variance), rel=1e-5)
    assert page.text_input(key="daily").value == str(round(sum(arm.analysed for arm in ship.arms) / 14))
    page.selectbox(key="metric").set_value("unsubscribes").run()
    assert page.segmented_control(key="goal").value == "Show no harm"
    assert page.number_input(key="baseline").value == 2.0
    assert page.number_input(key="effect").value == 5.0
    assert "unsubscribes is not worse by 5%" in words(shown(page))
    assert page.number_input(key="end").value == pytest.approx((ship.end - ship.start).days)
    page.selectbox(key="experiment").set_value("new_search").run()
    assert page.number_input(key="treatments").value == 2.0
    assert not page.exception


def test_the_fields_start_from_a_metric_alone(
    open_page: Open, write: Callable[..., Path], made: dict[str, Snapshot]
) -> None:
    root = write(*made.values())
    page = open_page(root, "sample-size")
    assert "revenue" in page.selectbox(key="known_metric").options
    page.selectbox(key="known_metric").set_value("revenue").run()
    assert not page.exception
    means = [arms[0].mean for each in made.values() for m in each.metrics if m.metric == "revenue" for arms in [m.arms]]
    assert any(page.number_input(key="mean").value == pytest.approx(mean, rel=1e-5) for mean in means if mean)
    assert page.segmented_control(key="goal").value == "Find a change"


def test_a_plan_that_gives_up_costs_what_the_core_says(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    asked = {"design": "Up to a planned end (group-sequential)", "end": "28", "looks": "7, 14, 21"}
    plain = total(shown(open_page(tmp_path, "sample-size", **asked)))
    giving_up = shown(open_page(tmp_path, "sample-size", **asked, futility="Evenly (Pocock type)"))
    plan = Plan(
        minimum_effect=0.05,
        success=(SuccessMetric(name="rate"),),
        design=Design.GROUP_SEQUENTIAL,
        end=28.0,
        looks=(7.0, 14.0, 21.0),
        futility=Spending(family="lan_demets_pocock"),
    )
    assert total(giving_up) == size_plan(plan, {"rate": Baseline.of_proportion(0.1)}).units > plain


def total(html: str) -> int:
    found = re.search(r'data-field="total" data-value="(\d+)"', html)
    assert found is not None
    return int(found[1])


def test_the_address_outranks_the_experiment(
    open_page: Open, write: Callable[..., Path], made: dict[str, Snapshot]
) -> None:
    root = write(*made.values())
    page = open_page(root, "sample-size", experiment="shorter_checkout", metric="orders", baseline="44")
    assert page.number_input(key="baseline").value == 44.0


def test_reading_events_without_a_warehouse_is_refused_in_words(
    open_page: Open, write: Callable[..., Path], made: dict[str, Snapshot]
) -> None:
    page = open_page(write(*made.values()), "sample-size", experiment="shorter_checkout", metric="orders")
    page.button[0].click().run()
    assert not page.exception
    assert [each.value for each in page.warning if "rampwise ingest" in each.value]


def test_the_plan_becomes_a_file_that_validates(open_page: Open, tmp_path: Path) -> None:
    root = create_workspace(tmp_path / "team").root
    for name in ("orders", "latency"):
        (root / "metrics" / f"{name}.toml").write_text('kind = "count"\nevent = "x"\nbetter = "higher"\n')
    page = open_page(root, "sample-size", daily="4000", guardrails="1", treatments="2", control_share="40")
    page.text_input(key="save_success").set_value("orders").run()
    assert [each.value for each in page.info if "1 guardrail(s), but 0 are named" in each.value.replace("\\", "")]
    page.text_input(key="save_guardrails").set_value("latency 5").run()
    (root / "experiments" / "my_experiment.toml").write_text(page.code[0].value)
    assert find_problems(root) == ()
    experiment = load_definitions(root).experiments["my_experiment"]
    assert experiment.plan.power == 0.8
    assert experiment.guardrails[0].margin == 0.05
    assert [variant.share for variant in experiment.variants] == [0.4, 0.3, 0.3]


def test_a_name_that_is_none_is_refused_where_it_stands(open_page: Open, tmp_path: Path) -> None:
    page = open_page(tmp_path, "sample-size")
    page.text_input(key="save_success").set_value("Sign ups!").run()
    assert not page.exception
    assert [each.value for each in page.info if "'Sign ups!' is no metric's name" in each.value.replace("\\", "")]
