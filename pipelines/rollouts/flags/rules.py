"""JsonLogic: conditions on attributes, and places on a salt's line.

Only what the engines agree on is used: strict equality, order between values whose type was checked before, `%`, `*`
and `+` on numbers, and no `fractional`. Engines differ over what is equal (to one, true is 1) and over what they do
with text where a number is wanted (one raises), so types are asked for first. The tests compare engines value by value.

"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from pipelines.client.bucketing import MODULUS, UNIT_ATTRIBUTE, Line, threshold
from pipelines.rollouts.flags.plans import Rule

NUMBER = {"var": UNIT_ATTRIBUTE}
_ORDERS = {"at_least": ">=", "at_most": "<=", "above": ">", "below": "<"}
_SPELLINGS = {True: ["true", "True"], False: ["false", "False"]}


def position(salt: str) -> Rule:
    """Where the unit stands on the salt's line."""
    line = Line.of(salt)
    return {"%": [{"+": [{"*": [line.a, NUMBER]}, line.b]}, MODULUS]}


def within(salt: str, low: int, high: int) -> Rule:
    """Whether the unit stands at a position in [low, high)."""
    here = position(salt)
    if low <= 0:
        return {"<": [here, high]}
    return {">=": [here, low]} if high >= MODULUS else {"and": [{">=": [here, low]}, {"<": [here, high]}]}


def has_number() -> Rule:
    """Whether the context carries a unit's number, as :func:`pipelines.client.bucketing.unit_number` makes it."""
    whole = {"===": [{"%": [NUMBER, MODULUS]}, NUMBER]}
    return {
        "and": [{"!": [_is_text(NUMBER)]}, {"!": [_is_boolean(NUMBER)]}, {"!!": [NUMBER]}, {">=": [NUMBER, 1]}, whole]
    }


def below(salt: str, share: float) -> Rule:
    """Whether the unit is among the first `share` of the salt's line."""
    return within(salt, 0, threshold(share))


def any_of(rules: list[Rule]) -> Rule:
    """At least one rule holds."""
    return rules[0] if len(rules) == 1 else {"or": rules}


def attribute_rule(attribute: str, operator: str, operand: object) -> Rule:
    """A typed condition on an attribute of the context.

    Parameters
    ----------
    operator
        ``is``, ``is_not``, ``in``, ``not_in``, ``at_least``, ``at_most``, ``above``, ``below`` or ``exists``.
    operand
        A string, number or boolean; a list of them for ``in`` and ``not_in``; a boolean for ``exists``.

    Raises
    ------
    ValueError
        If the operator is none of these.

    Notes
    -----
    A missing attribute meets ``is_not``, ``not_in`` and ``exists = false`` only. Orders hold between numbers only: text
    that looks like a number is not one. Attributes that are lists or objects meet no condition reliably.
    """
    value = {"var": attribute}
    if operator in _ORDERS:
        return {"and": [*_is_number(value), {_ORDERS[operator]: [value, operand]}]}
    if operator in ("is", "is_not"):
        holds = _equal(value, operand)
    elif operator in ("in", "not_in"):
        holds = any_of([_equal(value, each) for each in cast("Sequence[object]", operand)])
    elif operator == "exists":
        return {"!==" if operand else "===": [value, None]}
    else:
        raise ValueError(f"{operator!r} is no condition on an attribute.")
    return {"!": [holds]} if operator in ("is_not", "not_in") else holds


def _equal(value: Rule, operand: object) -> Rule:
    """Strict equality; where an engine takes true for 1, the type is asked for as well."""
    if isinstance(operand, bool):
        return {"and": [{"!": [_is_text(value)]}, {"in": [{"cat": [value]}, _SPELLINGS[operand]]}]}
    same = {"===": [value, operand]}
    return {"and": [{"!": [_is_boolean(value)]}, same]} if operand in (0, 1) else same


def _is_number(value: Rule) -> list[Rule]:
    return [{"!": [_is_text(value)]}, {"!": [_is_boolean(value)]}, {"!==": [value, None]}]


def _is_text(value: Rule) -> Rule:
    return {"===": [{"cat": [value, ""]}, value]}


def _is_boolean(value: Rule) -> Rule:
    """True for the words too, which are text: callers ask for text first where that matters."""
    return {"in": [{"cat": [value]}, [*_SPELLINGS[True], *_SPELLINGS[False]]]}
