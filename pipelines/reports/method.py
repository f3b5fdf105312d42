"""How the numbers came about, in sentences a product manager can read and a data scientist can check."""

from __future__ import annotations

from pipelines import formatting
from pipelines.reports import wording
from pipelines.store.snapshot import MetricResult, Snapshot


def method_notes(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """Heading and sentences per topic: when to read, error rates, estimates, what was counted."""
    notes = [("When the intervals are valid", _validity(snapshot)), ("Error rates", _error_rates(snapshot))]
    notes += [("Estimates", _estimates(snapshot)), ("What was counted", _counting(snapshot))]
    return tuple((heading, text) for heading, text in notes if text)


def window_text(metric: MetricResult) -> str:
    """A metric's conversion window, for example ``"7 days from first exposure"``."""
    if metric.window_days is None:
        return "from first exposure until the end of the experiment"
    for unit, length in (("day", 1.0), ("hour", 1 / 24), ("minute", 1 / 1440)):
        if metric.window_days >= length * (1 - 1e-9) or unit == "minute":
            break
    amount = f"{metric.window_days / length:,.2f}".rstrip("0").rstrip(".")
    return f"{amount} {unit}{'' if amount == '1' else 's'} from first exposure"


def _validity(snapshot: Snapshot) -> str:
    found = dict.fromkeys(c.validity for metric in snapshot.metrics for c in metric.comparisons)
    validities = list(found) or [snapshot.plan.design]
    words = " and ".join(wording.VALIDITIES.get(name, name) for name in validities)
    text = f"The intervals are {words}."
    if "fixed" in validities:
        alpha = formatting.short_percent(snapshot.plan.alpha)
        text += (
            f" The plan judges once, at the end ({formatting.time(snapshot.end)}): acting on an earlier look "
            f"would raise the rate of false alarms above the planned {alpha}, so "
            "effects are withheld until then."
        )
    if "group_sequential" in validities:
        text += (
            " Every planned look spends a part of the false-positive rate, at the information it really had (Lan and "
            "DeMets), so its interval is wider than that of a single look, and all looks together keep the rate. "
            "Between looks the numbers of the look before stand."
        )
    if "always_valid" in validities and snapshot.plan.design == "always_valid":
        tuned = "the information the plan needs" if snapshot.end >= formatting.OPEN_END else "the planned end"
        text += (
            f" They form a confidence sequence (normal mixture, tuned to {tuned}): they hold at all looks "
            "together, however many there are, which is why they are wider than that of a single look."
        )
    elif "always_valid" in validities:
        text += " After the planned end a confidence sequence at the reserved share of the rate takes over."
    return text


def _error_rates(snapshot: Snapshot) -> str:
    alpha = formatting.short_percent(snapshot.plan.alpha)
    sentences = []
    coverages = {
        role: next((c.confidence for m in snapshot.metrics if m.role == role for c in m.comparisons), None)
        for role in wording.ROLES
    }
    success = [c for metric in snapshot.metrics if metric.role == "success" for c in metric.comparisons]
    if coverages["success"] is not None:
        covers = formatting.short_percent(coverages["success"])
        if len(success) > 1:
            sentences.append(
                f"The {len(success)} comparisons of success metrics share a two-sided false-positive rate of {alpha} "
                f"equally (Bonferroni), so each of their intervals covers {covers}."
            )
        else:
            sentences.append(
                f"The one comparison of a success metric has a two-sided false-positive rate of {alpha}: its interval "
                f"covers {covers}."
            )
    if coverages["guardrail"] is not None:
        sentences.append(
            f"A guardrail is judged by its own {formatting.short_percent(coverages['guardrail'])} interval against its "
            "margin: it has to be shown safe, so it spends nothing of that rate."
        )
    if coverages["secondary"] is not None:
        sentences.append(
            f"Secondary metrics have {formatting.short_percent(coverages['secondary'])} intervals without correction: "
            "they inform and never decide, and among many of them some look changed by chance."
        )
    if coverages["exploratory"] is not None:
        sentences.append(
            f"Exploratory comparisons never decide and share a false-positive rate of {alpha} among them (Bonferroni): "
            f"each of their intervals covers {formatting.short_percent(coverages['exploratory'])}."
        )
    return " ".join(sentences)


def _estimates(snapshot: Snapshot) -> str:
    kinds = {metric.kind for metric in snapshot.metrics}
    if not kinds:
        return ""
    text = (
        "Differences are treatment minus control, with Welch's t interval and p-value (unequal variances). Relative "
        "changes are differences divided by the control's value, with intervals by Fieller's theorem, which "
        "account for the control being an estimate as well."
    )
    if "proportion" in kinds:
        text += " Proportions also have the pooled score test."
    small = dict.fromkeys(
        metric.label for metric in snapshot.metrics for c in metric.comparisons if c.method != "welch"
    )
    if small:
        text += (
            f" Fewer than 10 conversions or non-conversions in an arm ({', '.join(small)}): there the intervals are "
            "Miettinen and Nurminen's score intervals and the p-value is exact (Boschloo's test up to 400 units, "
            "Fisher's above); where the exact test does not reject, the interval is extended to include no change. "
            "The verdict follows the interval."
        )
    if "ratio" in kinds:
        text += " Ratios have standard errors by the delta method over units."
    return text


def _counting(snapshot: Snapshot) -> str:
    windows: dict[str, list[str]] = {}
    for metric in snapshot.metrics:
        windows.setdefault(window_text(metric), []).append(metric.label)
    spans = "; ".join(f"{', '.join(labels)}: {window}" for window, labels in windows.items())
    inside = f"in [{formatting.time(snapshot.start)}, {formatting.time(snapshot.end)})"
    if snapshot.end >= formatting.OPEN_END:
        inside = f"at or after {formatting.time(snapshot.start)}"
    text = (
        f"{snapshot.unit.capitalize()}s count from their first exposure, if that lies {inside}. Events count from "
        f"that moment on; {snapshot.unit}s without events count as 0. Those seen in several variants are excluded."
    )
    return text + (f" Windows: {spans}." if spans else "")
