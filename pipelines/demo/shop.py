"""A seeded online shop: users, visits and orders, with effects planted where the truth says so.

A fifth of the users is loyal: they order often, before the experiment and during it, so what a user bought in the
four weeks before predicts what they buy (correlation about 0.7 for orders), which is what covariate adjustment lives
on. A treatment multiplies the probability to buy, the value of an order, the probability of a refund, load times or
the probability of an error; every planted lift is therefore exactly the lift of its metric's expectation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.demo.truths import PLANTED, ExperimentTruth
from stats.status import FloatArray

Times = npt.NDArray[np.datetime64]
Integers = npt.NDArray[np.int64]

LOYAL_SHARE = 0.2
PRE_PERIOD = timedelta(days=28)
WINDOW_DAYS = 7
_BASKET = 38.0
_REFUNDS, _ERRORS = 0.06, 0.02
_LOAD_MILLISECONDS = 1100.0
_DEVICES, _DEVICE_ENDS = ("phone", "desktop", "tablet"), (55, 92)
_HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 11, 12, 11, 10, 10, 11, 13, 16, 19, 20, 17, 11, 6], np.float64)
_WEEKDAYS = np.array([1.0, 0.97, 0.98, 1.0, 1.1, 1.25, 1.15])
_SECOND, _DAY = np.timedelta64(1_000_000, "us"), 86_400e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopLog:
    """What one experiment leaves in the logs, in the order of time.

    Attributes
    ----------
    exposures
        Columns experiment, unit_id, variant, exposed_at, device.
    events
        Columns event_id, unit_id, event, occurred_at, value.
    """

    exposures: pa.Table
    events: pa.Table


@dataclass(frozen=True, slots=True, kw_only=True)
class _Users:
    """The people of one experiment; one entry per user in every array."""

    arm: Integers
    loyal: npt.NDArray[np.bool_]
    frequency: FloatArray
    basket: FloatArray
    first_visit: Times


def generate(
    name: str,
    truth: ExperimentTruth,
    variants: Mapping[str, float],
    control: str,
    *,
    midnight: datetime,
    number: int,
    rng: np.random.Generator,
) -> ShopLog:
    """Generate one experiment's logs.

    Parameters
    ----------
    name, variants, control
        From its definition; `variants` maps names to planned shares.
    midnight
        Nothing is logged at or after this moment.
    number
        Position of the experiment; keeps its users and event ids apart from those of others.
    rng
        Source of randomness.
    """
    start, end = (np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us") for moment in truth.period(midnight))
    until = min(end, np.datetime64(midnight.astimezone(UTC).replace(tzinfo=None), "us"))
    names = list(variants)
    users = _arrivals(truth, names, list(variants.values()), start, until, rng)
    effects = _effects(truth, names, control)
    unit, visit = _visits(users, until, rng)
    parts = [
        _purchases_before(users, start, rng),
        *_purchases(users, effects, until, rng),
        *_page_views(users, effects, unit, visit, rng),
    ]
    events = _event_table(parts, number)
    seen = rng.permutation(len(users.arm)) + 1_000_000 * (number + 1)
    return ShopLog(
        exposures=_exposure_table(name, names, users, (unit, visit), seen, period=(start, end, until), rng=rng),
        events=events.set_column(1, "unit_id", _unit_ids(seen[events["unit_id"].to_numpy()])),
    )


def _arrivals(
    truth: ExperimentTruth,
    names: Sequence[str],
    shares: Sequence[float],
    start: np.datetime64,
    until: np.datetime64,
    rng: np.random.Generator,
) -> _Users:
    """Randomise users; who is lost to a broken variant is never seen, and it is the occasional users who are."""
    n = truth.users
    arm = rng.choice(len(names), size=n, p=shares)
    loyal = rng.random(n) < LOYAL_SHARE
    lost_share = np.array([truth.shares_lost.get(name, 0.0) for name in names])[arm]
    kept = loyal | (rng.random(n) >= lost_share / (1 - LOYAL_SHARE))
    arm, loyal = arm[kept], loyal[kept]
    n = len(arm)
    days = int((until - start) / np.timedelta64(1, "D"))
    weekday = (start.astype("datetime64[D]").astype(int) + 3 + np.arange(days)) % 7
    weights = _WEEKDAYS[weekday] * (0.15 + np.exp(-np.arange(days) / 6))
    day = rng.choice(days, size=n, p=weights / weights.sum())
    return _Users(
        arm=arm,
        loyal=loyal,
        frequency=rng.gamma(2.0, 0.5, n),
        basket=np.exp(rng.normal(0.0, 0.5, n)),
        first_visit=start + _microseconds(day * _DAY) + _time_of_day(n, rng),
    )


def _effects(truth: ExperimentTruth, names: Sequence[str], control: str) -> dict[str, FloatArray]:
    """Factor per arm of everything that is planted; 1 in the control."""
    return {
        metric: np.array([1.0 if name == control else 1.0 + truth.treatments[name].lifts[metric] for name in names])
        for metric in PLANTED
    }


def _visits(users: _Users, until: np.datetime64, rng: np.random.Generator) -> tuple[Integers, Times]:
    """Every visit from the first on: whose, and when."""
    n = len(users.arm)
    again = np.repeat(np.arange(n), rng.poisson(0.6 + 0.6 * users.loyal))
    later = users.first_visit[again] + _microseconds(rng.exponential(3.0, len(again)) * _DAY)
    unit = np.concatenate([np.arange(n), again])
    visit = np.concatenate([users.first_visit, later])
    return unit[visit < until], visit[visit < until]


_Part = tuple[str, Integers, Times, FloatArray | None]


def _purchases_before(users: _Users, start: np.datetime64, rng: np.random.Generator) -> _Part:
    """Orders of the four weeks before the start, the same in every arm."""
    buys = rng.random(len(users.arm)) < np.where(users.loyal, 0.97, 0.09)
    orders = np.where(buys, 1 + rng.poisson(np.where(users.loyal, 3.5 * users.frequency, 0.3)), 0)
    unit = np.repeat(np.arange(len(orders)), orders)
    ago = rng.integers(1, PRE_PERIOD.days + 1, len(unit)) * _DAY
    return "purchase", unit, start - _microseconds(ago) + _time_of_day(len(unit), rng), _order_values(users, unit, rng)


def _purchases(
    users: _Users, effects: Mapping[str, FloatArray], until: np.datetime64, rng: np.random.Generator
) -> tuple[_Part, _Part]:
    """Orders within a week of the first visit, and refunds after them."""
    chance = np.where(users.loyal, 0.8, 0.03) * effects["conversion"][users.arm]
    buys = rng.random(len(users.arm)) < chance
    orders = np.where(buys, 1 + rng.poisson(np.where(users.loyal, 1.2 * users.frequency, 0.05)), 0)
    unit = np.repeat(np.arange(len(orders)), orders)
    wait = rng.beta(0.6, 2.5, len(unit)) * WINDOW_DAYS * _DAY
    at = users.first_visit[unit] + 90 * _SECOND + _microseconds(wait)
    value = np.round(_order_values(users, unit, rng) * effects["average_order_value"][users.arm[unit]], 2)
    refunded = rng.random(len(unit)) < _REFUNDS * effects["refund_rate"][users.arm[unit]]
    back = at[refunded] + _microseconds((1 + rng.exponential(3.0, int(refunded.sum()))) * _DAY)
    happened = at < until
    kept = happened[refunded] & (back < until)
    return (
        ("purchase", unit[happened], at[happened], value[happened]),
        ("refund", unit[refunded][kept], back[kept], value[refunded][kept]),
    )


def _page_views(
    users: _Users, effects: Mapping[str, FloatArray], unit: Integers, visit: Times, rng: np.random.Generator
) -> tuple[_Part, _Part]:
    """One measured page view per visit, with its load time, and the errors users met there."""
    speed = np.exp(rng.normal(0.0, 0.35, len(users.arm)))[unit] * np.exp(rng.normal(0.0, 0.3, len(unit)))
    value = np.round(_LOAD_MILLISECONDS * speed * effects["page_load_time"][users.arm[unit]], 1)
    failed = rng.random(len(unit)) < _ERRORS * effects["error_rate"][users.arm[unit]]
    at = visit + 2 * _SECOND
    return ("page_view", unit, at, value), ("client_error", unit[failed], at[failed] + _SECOND, None)


def _order_values(users: _Users, unit: Integers, rng: np.random.Generator) -> FloatArray:
    """Log-normal order values in euros: heavy-tailed, with a level of their own per user."""
    return np.round(_BASKET * users.basket[unit] * np.exp(rng.normal(-0.125, 0.5, len(unit))), 2)


def _event_table(parts: Sequence[_Part], number: int) -> pa.Table:
    """All events in the order of time; `unit_id` still holds positions."""
    unit = np.concatenate([part[1] for part in parts])
    at = np.concatenate([part[2] for part in parts])
    event = np.concatenate([np.full(len(part[1]), part[0]) for part in parts])
    value = np.concatenate([np.full(len(part[1]), np.nan) if part[3] is None else part[3] for part in parts])
    order = np.lexsort((value, event, unit, at))
    ids = pc.binary_join_element_wise(f"e{number + 1}", _text(10_000_000 + np.arange(len(order))), "-")
    return pa.table(
        {
            "event_id": ids,
            "unit_id": unit[order],
            "event": event[order],
            "occurred_at": _utc(at[order]),
            "value": pa.array(value[order], mask=np.isnan(value[order])),
        }
    )


def _exposure_table(
    name: str,
    names: Sequence[str],
    users: _Users,
    visits: tuple[Integers, Times],
    seen: Integers,
    *,
    period: tuple[np.datetime64, np.datetime64, np.datetime64],
    rng: np.random.Generator,
) -> pa.Table:
    """Exposures at every visit; and what real logs hold too: testers before the start, stragglers, switched users."""
    start, end, until = period
    unit, visit = visits
    testers, stragglers = 12, len(users.arm) // 400 if end <= until else 0
    outside = int(seen.max()) + 1 + np.arange(testers + stragglers)
    before = start - _microseconds(rng.uniform(0.1, 2.0, testers) * _DAY)
    after = end + _microseconds(rng.uniform(0.0, 1.5, stragglers) * _DAY)
    switched = rng.choice(len(users.arm), size=len(users.arm) // 3000, replace=False)
    switched = switched[users.first_visit[switched] + 3600 * _SECOND < until]
    at = np.concatenate([visit, before, after, users.first_visit[switched] + 3600 * _SECOND])
    arm = np.concatenate(
        [users.arm[unit], rng.choice(len(names), len(outside)), (users.arm[switched] + 1) % len(names)]
    )
    ids = np.concatenate([seen[unit], outside, seen[switched]])
    order = np.lexsort((arm, ids, at))
    return pa.table(
        {
            "experiment": pa.array([name] * len(order)),
            "unit_id": _unit_ids(ids[order]),
            "variant": pa.array(names).take(pa.array(arm[order])),
            "exposed_at": _utc(at[order]),
            "device": pa.array(_DEVICES).take(pa.array(np.searchsorted(_DEVICE_ENDS, ids[order] % 100, side="right"))),
        }
    )


def _time_of_day(n: int, rng: np.random.Generator) -> npt.NDArray[np.timedelta64]:
    hour = rng.choice(24, size=n, p=_HOURS / _HOURS.sum())
    return _microseconds((hour * 3600 + rng.random(n) * 3600) * 1e6)


def _microseconds(amount: npt.ArrayLike) -> npt.NDArray[np.timedelta64]:
    return np.asarray(amount, np.float64).astype(np.int64).astype("timedelta64[us]")


def _utc(times: Times) -> pa.Array:
    return pa.array(times.astype("datetime64[us]")).cast(pa.timestamp("us", tz="UTC"))


def _unit_ids(numbers: Integers) -> pa.Array:
    return pc.binary_join_element_wise("u", _text(numbers), "")


def _text(numbers: Integers) -> pa.Array:
    return pa.array(numbers).cast(pa.string())
