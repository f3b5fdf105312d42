from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import formatting as f


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1234, "12.3%"),
        (0.004512, "0.451%"),
        (0.0, "0.00%"),
        (1.0, "100%"),
        (-0.05, "−5.00%"),
        (12.5, "1,250%"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞%"),
        (-math.inf, "−∞%"),
    ],
)
def test_proportions_become_percent_with_three_digits(value: float | None, text: str) -> None:
    assert f.percent(value) == text


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [(0.042, 1, "+4.2%"), (-0.042, 1, "−4.2%"), (0.0, 1, "0.0%"), (-0.0, 1, "0.0%"), (0.0004, 1, "0.0%")],
)
def test_relative_changes_carry_their_sign_and_zero_carries_none(value: float, places: int, text: str) -> None:
    assert f.signed_percent(value, places=places) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.95, "95%"), (0.975, "97.5%"), (0.9875, "98.75%"), (0.5, "50%"), (1.0, "100%"), (0.02, "2%")]
)
def test_chosen_percentages_lose_trailing_zeros(value: float, text: str) -> None:
    assert f.short_percent(value) == text


@pytest.mark.parametrize(
    ("value", "log_p", "text"),
    [
        (0.5, None, "0.500"),
        (0.0499, None, "0.0499"),
        (0.00123, None, "0.00123"),
        (0.0001, None, "0.000100"),
        (0.00009999, None, "< 0.0001"),
        (0.0, -1040.0, "< 0.0001"),
        (None, -1040.0, "< 0.0001"),
        (0.9999, None, "> 0.999"),
        (None, None, "–"),
        (math.nan, math.nan, "–"),
    ],
)
def test_p_values_never_round_to_zero(value: float | None, log_p: float | None, text: str) -> None:
    assert f.p_value(value, log_p) == text


@pytest.mark.parametrize(
    ("value", "log_p", "text"),
    [
        (0.0027, math.log(0.0027), "0.00270"),
        (5.2e-15, None, "5.2 × 10⁻¹⁵"),
        (1e-300, None, "1.0 × 10⁻³⁰⁰"),
        (0.0, math.log(2.5) - 1000 * math.log(10), "2.5 × 10⁻¹⁰⁰⁰"),
        (0.0, None, "< 0.0001"),
        (9.96e-10, None, "1.0 × 10⁻⁹"),
        (None, None, "–"),
    ],
)
def test_tiny_p_values_keep_their_power_of_ten_even_where_they_underflow(
    value: float | None, log_p: float | None, text: str
) -> None:
    assert f.exact_p_value(value, log_p) == text


@given(st.floats(1e-12, 1.0))
def test_a_p_value_stays_on_its_side_of_one_in_twenty(p: float) -> None:
    shown = f.p_value(p)
    number = float(shown.lstrip("<> "))
    if p < 0.0499 or p > 0.0501:
        assert (number < 0.05) == (p < 0.05)


@pytest.mark.parametrize(
    ("kind", "unit", "value", "text"),
    [
        ("proportion", "", 0.1, "10.0%"),
        ("mean", "€", 12.345, "€12.35"),
        ("mean", "US$", 3.0, "3.000 US$"),
        ("mean", "min", 3.14159, "3.142 min"),
        ("mean", "%", 3.14159, "3.142%"),
        ("count", "", 1234.5678, "1,235"),
        ("ratio", "€", -0.5, "−€0.5000"),
        ("mean", "€", None, "–"),
        ("mean", "", 2.5e13, "2.500e+13"),
    ],
)
def test_values_carry_their_unit(kind: str, unit: str, value: float | None, text: str) -> None:
    assert f.metric_value(value, kind=kind, unit_label=unit) == text


@pytest.mark.parametrize(
    ("values", "difference", "unit", "places"),
    [((15.48, 16.85), 1.37, "€", 2), ((15.48, 16.85), 1.37, "min", 1), ((1227.0, 1210.0), 17.0, "€", 0)],
)
def test_money_has_cents_or_none(values: tuple[float, ...], difference: float, unit: str, places: int) -> None:
    assert f.value_places("mean", values, difference, unit_label=unit) == places


def test_differences_of_proportions_are_percentage_points() -> None:
    assert f.difference(0.012, kind="proportion") == "+1.20 pp"
    assert f.difference(-0.0783, kind="mean", unit_label="€", places=2) == "−€0.08"
    assert f.difference(None, kind="proportion") == "–"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.2, "a to b"),
        (0.1, math.inf, "at least a, no upper limit"),
        (-math.inf, 0.2, "at most b, no lower limit"),
        (-math.inf, math.inf, "no limit on either side"),
        (None, None, "–"),
    ],
)
def test_an_unbounded_end_is_said_in_words(low: float | None, high: float | None, text: str) -> None:
    assert f.interval(low, high, lower="a", upper="b") == text


@given(
    value=st.floats(-50, 50).filter(lambda v: v == 0 or abs(v) > 1e-5),
    start=st.integers(0, 3),
    threshold=st.sampled_from([0.0, 2.0, -2.0, 3.0]),
)
def test_rounding_never_moves_a_value_across_a_threshold(value: float, start: int, threshold: float) -> None:
    if value != threshold and abs(value - threshold) < 1e-5:
        return
    shown = round(value, f.separating_decimals([value], [threshold], start=start))
    assert (shown > threshold, shown < threshold) == (value > threshold, value < threshold)


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Europe/Berlin", "9 Mar 2025, 00:05 CET"),
        ("America/New_York", "8 Mar 2025, 18:05 EST"),
        ("Asia/Dubai", "9 Mar 2025, 03:05 UTC+04"),
        ("UTC", "8 Mar 2025, 23:05 UTC"),
        (None, "8 Mar 2025, 23:05 UTC"),
    ],
)
def test_moments_are_told_in_a_named_time_zone_and_days_stay_days_of_the_plan(zone: str | None, text: str) -> None:
    moment = datetime(2025, 3, 8, 23, 5, tzinfo=UTC)
    with f.times_in(f.time_zone(zone)):
        assert f.time(moment) == text
        assert f.date(moment) == "8 Mar 2025"
        with f.times_in(UTC):
            assert f.time(moment).endswith("UTC")
        assert f.time(moment) == text
    assert f.time(moment) == "8 Mar 2025, 23:05 UTC"
    assert f.zone_in_words() == "UTC"


def test_the_hour_that_comes_twice_is_told_apart_by_the_name_of_the_time() -> None:
    with f.times_in(f.time_zone("Europe/Berlin")):
        told = [f.time(datetime(2025, 10, 26, hour, 30, tzinfo=UTC)) for hour in (0, 1)]
    assert told == ["26 Oct 2025, 02:30 CEST", "26 Oct 2025, 02:30 CET"]


@pytest.mark.parametrize(
    "name", ["", "Nowhere/Nothing", "../../etc/passwd", "/etc/passwd", "Europe", "x" * 5000, "a\0b"]
)
def test_a_time_zone_that_a_browser_makes_up_is_utc(name: str) -> None:
    assert f.time_zone(name) is UTC


def test_times_in_one_thread_are_not_those_of_another() -> None:
    moment = datetime(2025, 3, 8, 23, 5, tzinfo=UTC)
    with ThreadPoolExecutor(1) as pool, f.times_in(f.time_zone("Asia/Tokyo")):
        assert pool.submit(f.time, moment).result() == "8 Mar 2025, 23:05 UTC"
        assert f.time(moment) == "9 Mar 2025, 08:05 JST"


def test_times_are_utc_and_do_not_depend_on_the_locale() -> None:
    moment = datetime(2025, 3, 9, 1, 5, tzinfo=timezone(timedelta(hours=2)))
    assert f.time(moment) == "8 Mar 2025, 23:05 UTC"
    assert f.time(None) == "–"
    start = datetime(2025, 11, 3, tzinfo=UTC)
    assert f.period(start, start + timedelta(days=14)) == "3 Nov 2025 to 17 Nov 2025 (14 days)"
    assert f.days(timedelta(hours=5)) == "1 day"
