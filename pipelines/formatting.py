"""Numbers as people read them. Proportions inside become percent here and nowhere else.

Rounding never contradicts a verdict: an interval that excludes 0 (or stays inside a margin) is shown with as many
decimals as it takes to see that.

Numbers and dates look the same for every reader: sentences are written once, with a snapshot, and numbers beside them
in another format would read as other numbers. The month is a word, so that no date can be taken for another. Moments
are told in the reader's time zone, named every time (`times_in`); days are those of the plan, UTC days.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

MINUS = "−"
NONE = "–"
OPEN_END = datetime(9999, 1, 1, tzinfo=UTC)
"""Stands for the end of an experiment that has none: a moment that never comes."""
SMALLEST_P = 1e-4
MAXIMUM_DECIMALS = 8
SCIENTIFIC_FROM = 1e12
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
_zone: ContextVar[tzinfo] = ContextVar("zone", default=UTC)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def decimals(magnitude: float | None, *, significant: int = 3) -> int:
    """Decimals that show `magnitude` with so many significant digits, between 0 and 8."""
    if magnitude is None or not math.isfinite(magnitude) or magnitude == 0:
        return significant - 1
    return min(max(significant - 1 - math.floor(math.log10(abs(magnitude))), 0), MAXIMUM_DECIMALS)


def separating_decimals(values: Iterable[float | None], thresholds: Iterable[float], *, start: int) -> int:
    """The fewest decimals, from `start`, with which no value moves onto or across a threshold by rounding."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    limits = [round(limit, 10) for limit in thresholds]
    for places in range(start, MAXIMUM_DECIMALS):
        if all(_side(value, t) == _side(round(value, places), t) for value in finite for t in limits):
            return places
    return MAXIMUM_DECIMALS


def shared_places(
    values: Iterable[float | None], limits: Iterable[float], *, scale: float = 1, significant: int = 3
) -> int:
    """Decimals shared by an estimate and the ends of its interval.

    Enough for its width, and to keep each number on its side of every limit.

    Parameters
    ----------
    values, limits
        The numbers, and the thresholds that a verdict compares them with (0, a margin), before scaling.
    scale
        What they are multiplied with on screen: 100 for proportions.
    """
    scaled = [value * scale for value in values if value is not None and math.isfinite(value)]
    width = max(scaled) - min(scaled) if len(scaled) > 1 else max((abs(v) for v in scaled), default=0.0)
    start = min(decimals(width, significant=significant), 4) if width else 2
    return separating_decimals(scaled, [limit * scale for limit in limits], start=start)


def _side(value: float, threshold: float) -> int:
    return (value > threshold) - (value < threshold)


def number(value: float | None, *, places: int | None = None, signed: bool = False) -> str:
    """A number with thousands separators, for example ``"1,234.5"`` or ``"−0.031"``; a dash where there is none."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return (MINUS if value < 0 else "+" if signed else "") + "∞"
    places = decimals(value, significant=4) if places is None else places
    text = f"{abs(value):.3e}" if abs(value) >= SCIENTIFIC_FROM else f"{abs(value):,.{places}f}"
    nothing = not any(digit in text for digit in "123456789")
    sign = "" if nothing else MINUS if value < 0 else "+" if signed else ""
    return sign + text


def percent(value: float | None, *, places: int | None = None, signed: bool = False) -> str:
    """A proportion as percent: ``percent(0.1234)`` is ``"12.3%"``."""
    if not _finite(value) or value is None:
        return number(value, signed=signed) + ("%" if value is not None and math.isinf(value) else "")
    scaled = value * 100
    return number(scaled, places=decimals(scaled) if places is None else places, signed=signed) + "%"


def signed_percent(value: float | None, *, places: int | None = None) -> str:
    """A relative change: ``signed_percent(0.042)`` is ``"+4.20%"``."""
    return percent(value, places=places, signed=True)


def short_percent(value: float) -> str:
    """A percentage that someone chose, without trailing zeros: 0.05 is ``"5%"``, 0.9750 is ``"97.5%"``."""
    text = number(value * 100, places=4)
    return text.rstrip("0").rstrip(".") + "%"


def count(value: int) -> str:
    """Units or rows: ``"12,345"``."""
    return f"{value:,}"


def with_unit(text: str, unit_label: str) -> str:
    """A number with its unit: currency signs in front (``"−€1.20"``), everything else behind (``"3.1 min"``)."""
    if not unit_label or text == NONE:
        return text
    if is_currency(unit_label):
        sign = text[0] if text[0] in (MINUS, "+") else ""
        return f"{sign}{unit_label}{text[len(sign) :]}"
    return text + unit_label if unit_label == "%" else f"{text} {unit_label}"


def is_currency(unit_label: str) -> bool:
    """Whether a unit is a currency sign."""
    return bool(unit_label) and all(unicodedata.category(letter) == "Sc" for letter in unit_label)


def value_places(kind: str, values: Iterable[float | None], difference: float | None, *, unit_label: str = "") -> int:
    """Decimals for a metric's values, fine enough to see the difference between them; of money never just one."""
    scale = 100 if kind in SHARES else 1
    finite = [abs(value) * scale for value in values if value is not None and math.isfinite(value)]
    coarse = decimals(max(finite, default=0.0), significant=3)
    fine = coarse if not difference else max(coarse, min(decimals(difference * scale, significant=1), coarse + 3))
    return 2 if fine == 1 and is_currency(unit_label) else fine


SHARES = frozenset({"proportion", "retention", "funnel"})
"""Kinds of metrics whose values are shares of units: shown in percent."""


def metric_value(value: float | None, *, kind: str, unit_label: str = "", places: int | None = None) -> str:
    """A metric's value: proportions in percent, everything else with its unit."""
    if kind in SHARES:
        return percent(value, places=places)
    return with_unit(number(value, places=places), unit_label)


def difference(value: float | None, *, kind: str, unit_label: str = "", places: int | None = None) -> str:
    """Treatment minus control: proportions in percentage points, everything else with its unit."""
    if kind in SHARES:
        scaled = None if value is None else value * 100
        text = number(scaled, places=decimals(scaled) if places is None else places, signed=True)
        return text if text == NONE else text + " pp"
    shown = decimals(value) if places is None else places
    return with_unit(number(value, places=shown, signed=True), unit_label)


def p_value(value: float | None, log_p: float | None = None) -> str:
    """A p-value with three digits; below 0.0001 ``"< 0.0001"``, also where only its logarithm is representable."""
    if value is None or math.isnan(value):
        if log_p is None or math.isnan(log_p):
            return NONE
        value = math.exp(log_p)
    if value < SMALLEST_P:
        return f"< {SMALLEST_P:.4f}"
    if value > 0.999:
        return "> 0.999"
    return f"{value:.{min(decimals(value), 6)}f}"


def exact_p_value(value: float | None, log_p: float | None = None) -> str:
    """A p-value with its power of ten, from its logarithm where it underflows: ``"3.1 × 10⁻⁴⁵²"``."""
    if log_p is None or not math.isfinite(log_p):
        if value is None or math.isnan(value) or value <= 0:
            return p_value(value)
        log_p = math.log(value)
    if log_p >= math.log(SMALLEST_P):
        return p_value(math.exp(log_p))
    power = log_p / math.log(10)
    exponent = math.floor(power)
    mantissa = f"{10 ** (power - exponent):.1f}"
    if mantissa == "10.0":
        mantissa, exponent = "1.0", exponent + 1
    return f"{mantissa} × 10{str(exponent).translate(_SUPERSCRIPT)}"


def interval(low: float | None, high: float | None, *, lower: str, upper: str) -> str:
    """An interval in words, from its ends and their texts; an unbounded end is said, not drawn.

    Parameters
    ----------
    low, high
        The ends; infinite where unbounded, ``None`` where there is no interval.
    lower, upper
        The ends as text, used where they are finite.
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return NONE
    if math.isfinite(low) and math.isfinite(high):
        return f"{lower} to {upper}"
    if math.isfinite(low):
        return f"at least {lower}, no upper limit"
    if math.isfinite(high):
        return f"at most {upper}, no lower limit"
    return "no limit on either side"


def date(moment: datetime) -> str:
    """A day in UTC: ``"3 Nov 2025"``."""
    return _day(moment.astimezone(UTC))


def _day(moment: datetime) -> str:
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def time(moment: datetime | None) -> str:
    """A moment with its time zone: ``"3 Nov 2025, 14:05 UTC"``, elsewhere within `times_in`; a dash where none is."""
    if moment is None:
        return NONE
    local = moment.astimezone(_zone.get())
    name = local.tzname() or ""
    return f"{_day(local)}, {local:%H:%M} {f'UTC{name}' if name[:1] in ('+', '-') else name}"


@contextmanager
def times_in(zone: tzinfo) -> Iterator[None]:
    """While it lasts, `time` tells moments in this time zone, in this thread or task only."""
    before = _zone.set(zone)
    try:
        yield
    finally:
        _zone.reset(before)


def zone_in_words() -> str:
    """The time zone in which `time` tells moments: ``"Europe/Berlin"``."""
    return str(_zone.get())


def time_zone(name: str | None) -> tzinfo:
    """The time zone of a name, which may come from anybody's browser; UTC for none, or one that is not known here."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError, KeyError):  # no such zone, a folder of zones, or no name of a zone at all
        return UTC


def period(start: datetime, end: datetime) -> str:
    """From the first to the last moment, and how many days that is; an open end is said to be one."""
    if end >= OPEN_END:
        return f"since {date(start)}, open end"
    return f"{date(start)} to {date(end)} ({days(end - start)})"


def days(span: timedelta) -> str:
    """A duration in whole days, at least one: ``"14 days"``."""
    whole = max(round(span / timedelta(days=1)), 1)
    return f"{whole:,} day" + ("" if whole == 1 else "s")


def in_one_line(text: str) -> str:
    """A text from outside for a terminal or a header: line breaks, controls and unseen letters become visible escapes.

    They could otherwise move the cursor, begin a line of their own, hide what follows or show a name backwards.
    """
    return text if text.isprintable() else "".join(_escape(each) if _hidden(each) else each for each in text)


def for_terminal(text: str) -> str:
    """A text of several lines in which nothing else moves the cursor, is unseen, or turns what follows around."""
    return "\n".join("\t".join(map(in_one_line, line.split("\t"))) for line in text.split("\n"))


def for_page(text: str) -> str:
    """A text for HTML and Markdown: controls, which no page may hold, and turns of direction become visible escapes.

    A turn that is never taken back would show the numbers behind it from right to left. Joiners stay: scripts and
    emoji need them.
    """
    return text if text.isprintable() else "".join(_escape(each) if _disturbs(each) else each for each in text)


def for_json(text: str) -> str:
    """JSON that says the same, in which all letters that are not seen are written as JSON's own escapes."""
    return "".join(json.dumps(each)[1:-1] if each != "\n" and _hidden(each) else each for each in text)


def _hidden(letter: str) -> bool:
    return unicodedata.category(letter) in _HIDDEN


def _disturbs(letter: str) -> bool:
    return letter in _TURNING or (unicodedata.category(letter) in {"Cc", "Cs"} and letter not in "\n\t")


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def age(found: timedelta | None) -> str:
    """How long ago something was, rounded to what matters: minutes, hours below two days, then days; "–" for None."""
    if found is None:
        return "–"
    hours = max(found / timedelta(hours=1), 0.0)
    if hours < 1:
        return f"{number(hours * 60, places=0)} min"
    return f"{number(hours, places=1)} hours" if hours < 48 else f"{number(hours / 24, places=0)} days"
