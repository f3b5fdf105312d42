from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.definitions.reports import ReportSchedule
from pipelines.schedule import due_slots, slots_before

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(cron: str, moment: datetime, count: int = 3, zone: str = "Europe/Berlin") -> list[datetime]:
    return list(islice(slots_before(cron, zone, moment), count))


def test_monday_means_monday_in_the_time_zone_of_the_report() -> None:
    found = slots("0 8 * * MON", utc("2025-11-19T12:00:00"), 2)
    assert found == [utc("2025-11-17T07:00:00"), utc("2025-11-10T07:00:00")]
    assert slots("0 8 * * 1", utc("2025-11-19T12:00:00"), 2) == found


@pytest.mark.parametrize(("day", "expected"), [("0", 16), ("7", 16), ("SUN", 16), ("6", 15), ("1", 17)])
def test_weekday_numbers_follow_cron_with_sunday_as_0_and_7(day: str, expected: int) -> None:
    (found,) = slots(f"0 8 * * {day}", utc("2025-11-19T12:00:00"), 1, "UTC")
    assert found == datetime(2025, 11, expected, 8, tzinfo=UTC)


def test_the_moment_of_a_slot_belongs_to_it() -> None:
    at = utc("2025-11-17T07:00:00")
    assert slots("0 8 * * MON", at, 1) == [at]
    assert slots("0 8 * * MON", at - timedelta(microseconds=1), 1) == [utc("2025-11-10T07:00:00")]
    assert slots("0 8 * * MON", at + timedelta(microseconds=1), 1) == [at]


def test_a_report_at_eight_stays_at_eight_when_the_clock_changes() -> None:
    found = slots("0 8 * * *", utc("2025-03-31T12:00:00"), 3)
    assert found == [utc("2025-03-31T06:00:00"), utc("2025-03-30T06:00:00"), utc("2025-03-29T07:00:00")]
    assert {slot.astimezone(BERLIN).hour for slot in found} == {8}


def test_a_time_that_the_clock_jumps_over_comes_right_after_the_jump() -> None:
    """2025-03-30 in Berlin has no 02:30: 01:59:59 is followed by 03:00."""
    assert slots("30 2 * * *", utc("2025-03-30T12:00:00"), 2) == [
        utc("2025-03-30T01:00:00"),
        utc("2025-03-29T01:30:00"),
    ]


def test_a_time_that_comes_twice_is_one_slot_the_first_time() -> None:
    """2025-10-26 in Berlin has two 02:30: at 00:30 and at 01:30 UTC."""
    expected = [utc("2025-10-26T00:30:00"), utc("2025-10-25T00:30:00")]
    for moment in ("2025-10-26T00:30:00", "2025-10-26T01:15:00", "2025-10-26T01:30:00", "2025-10-26T12:00:00"):
        assert slots("30 2 * * *", utc(moment), 2) == expected


@pytest.mark.parametrize(("day", "count"), [("2025-03-30", 23), ("2025-10-26", 25), ("2025-10-27", 24)])
def test_hourly_slots_follow_elapsed_time(day: str, count: int) -> None:
    begin = datetime.fromisoformat(day).replace(tzinfo=BERLIN)
    end = begin + timedelta(days=1)
    found = [s for s in slots("0 * * * *", end - timedelta(seconds=1), 30) if s >= begin.astimezone(UTC)]
    assert len(found) == count
    assert {a - b for a, b in pairwise(found)} == {timedelta(hours=1)}


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.integers(0, 2 * 365 * 86_400),
    cron=st.sampled_from(["30 2 * * *", "0 8 * * MON", "*/20 * * * *", "0 0 1 * *", "15 1-3 * * *", "0 9 * * 1-5"]),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "UTC", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_walking_back_finds_the_slots_that_walking_forward_finds(seconds: int, cron: str, zone: str) -> None:
    moment = utc("2025-01-01T00:00:00") + timedelta(seconds=seconds)
    back = slots(cron, moment, 3, zone)
    start = back[-1] - timedelta(days=2)
    forward = []
    for wall in CronSim(cron, start.astimezone(ZoneInfo(zone))):
        slot = wall.astimezone(UTC)
        if slot > moment:
            break
        forward.append(slot)
    assert sorted(back) == forward[-3:]


def weekly() -> ReportSchedule:
    return ReportSchedule(name="weekly", cron="0 8 * * MON", timezone="Europe/Berlin")


def test_a_new_schedule_starts_with_the_slot_of_this_week() -> None:
    assert due_slots(weekly(), None, now=utc("2025-11-19T12:00:00")) == (utc("2025-11-17T07:00:00"),)


def test_a_new_schedule_does_not_dig_up_a_slot_older_than_a_week() -> None:
    monthly = ReportSchedule(name="monthly", cron="0 8 1 * *")
    assert due_slots(monthly, None, now=utc("2025-11-20T00:00:00")) == ()
    assert due_slots(monthly, None, now=utc("2025-12-01T08:00:00")) == (utc("2025-12-01T08:00:00"),)


def test_of_several_missed_slots_only_the_latest_is_due() -> None:
    assert due_slots(weekly(), utc("2025-09-01T06:00:00"), now=utc("2025-11-19T12:00:00")) == (
        utc("2025-11-17T07:00:00"),
    )


def test_a_missed_slot_stays_due_however_old() -> None:
    monthly = ReportSchedule(name="monthly", cron="0 8 1 * *")
    assert due_slots(monthly, utc("2025-10-01T08:00:00"), now=utc("2025-11-28T00:00:00")) == (
        utc("2025-11-01T08:00:00"),
    )


def test_nothing_is_due_between_slots_or_behind_the_last_delivery() -> None:
    delivered = utc("2025-11-17T07:00:00")
    assert due_slots(weekly(), delivered, now=utc("2025-11-24T06:59:59")) == ()
    assert due_slots(weekly(), delivered, now=utc("2025-11-24T07:00:00")) == (utc("2025-11-24T07:00:00"),)
    assert due_slots(weekly(), delivered, now=utc("2025-11-12T07:00:00")) == ()


def test_all_missed_slots_are_made_up_for_where_the_schedule_says_so() -> None:
    schedule = weekly().model_copy(update={"catch_up": "all"})
    found = due_slots(schedule, utc("2025-10-27T07:00:00"), now=utc("2025-11-19T12:00:00"))
    assert found == tuple(utc(f"2025-11-{day}T07:00:00") for day in ("03", "10", "17"))


@pytest.mark.parametrize(("now", "due"), [("07:59:59", True), ("08:00:01", False)])
def test_a_slot_is_skipped_after_an_hour_where_the_schedule_says_so(now: str, due: bool) -> None:
    schedule = weekly().model_copy(update={"catch_up": "skip"})
    found = due_slots(schedule, utc("2025-10-27T07:00:00"), now=utc(f"2025-11-17T{now}"))
    assert found == ((utc("2025-11-17T07:00:00"),) if due else ())
