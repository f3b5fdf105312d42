"""Conditions on attributes as expressions: typed comparisons of a JSON object's entries, no SQL text."""

from __future__ import annotations

import ibis

from pipelines.definitions.sources import Condition

Scalar = str | bool | int | float


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def json_extract_string(document: str, pointer: str) -> str:  # type: ignore[empty-body]  # the engine's own function
    """Text of the entry at a JSON pointer (RFC 6901); NULL where there is none or it is null."""


def fits(attributes: ibis.Value, condition: Condition) -> ibis.Value:
    """Whether a row's attributes satisfy a condition; never NULL.

    The type of what is written decides how the attribute is read. What is missing, JSON null or cannot be read as
    that type fits `is_not`, `not_in` and, where it is missing or null, `exists = false` only.
    """
    text = attribute_text(attributes, condition.attribute)
    comparison, value = condition.comparison, condition.value
    if comparison == "exists":
        return text.notnull() if value else text.isnull()
    if comparison in ("at_least", "at_most", "above", "below"):
        number = text.try_cast("float64")
        bound = float(value)  # type: ignore[arg-type]  # a number by its model
        found = {
            "at_least": number >= bound,
            "at_most": number <= bound,
            "above": number > bound,
            "below": number < bound,
        }[comparison]
        return found.fill_null(ibis.literal(value=False))
    values = value if isinstance(value, tuple) else (value,)
    equal = _equals(text, values[0])
    for each in values[1:]:
        equal = equal | _equals(text, each)
    return ~equal if comparison in ("is_not", "not_in") else equal


def attribute_text(attributes: ibis.Value, name: str) -> ibis.Value:
    """An attribute's text; NULL where it is missing or JSON null."""
    return json_extract_string(attributes, "/" + name.replace("~", "~0").replace("/", "~1"))


def _equals(text: ibis.Value, value: Scalar) -> ibis.Value:
    if isinstance(value, bool):
        equal = text.lower() == ("true" if value else "false")
    elif isinstance(value, str):
        equal = text == value
    else:
        equal = text.try_cast("float64") == float(value)
    return equal.fill_null(ibis.literal(value=False))
