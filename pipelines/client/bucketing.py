"""From a unit's key to its place on a salt's line: arithmetic that every flag engine, and SQL, does exactly.

Flag engines disagree on hashes: what one calls the first half of the users is another half in the next version. So the
hash is taken once, by the client, as a number that the context carries, and targeting rules only multiply, add and take
a remainder. All products stay below 2**53, where numbers of JSON and JavaScript are exact.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self

MODULUS = 67_108_859
"""The largest prime below 2**26: a product of two numbers below it, plus a third, is below 2**53."""

UNIT_ATTRIBUTE = "xp_u"
"""Name of the context attribute that holds the unit's number."""

_BYTES = 8


def unit_number(unit_key: str) -> int:
    """The number of a unit, in [1, MODULUS - 1].

    Parameters
    ----------
    unit_key
        What identifies the unit, as it also stands in exposures and events; not empty.

    Returns
    -------
    int
        One more than the first 8 bytes (big-endian) of SHA-256 of the key's UTF-8, modulo ``MODULUS - 1``. Never 0, so
        that a missing number can be told from any unit.

    Raises
    ------
    ValueError
        If the key is empty: such a unit is nobody, and is never enrolled.

    Examples
    --------
    >>> unit_number("user-1")
    40672211
    """
    if not unit_key:
        raise ValueError("The unit's key is empty: nobody can be told from anybody else by it. Pass the unit's id.")
    return 1 + int.from_bytes(hashlib.sha256(unit_key.encode()).digest()[:_BYTES]) % (MODULUS - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How one salt lines all units up: the unit numbered `u` stands at ``(a * u + b) mod MODULUS``.

    Attributes
    ----------
    a
        Factor, in [1, MODULUS - 1].
    b
        Offset, in [0, MODULUS - 1].

    Notes
    -----
    The affine maps of a prime field are pairwise independent over a random ``(a, b)``: Carter and Wegman (1979),
    Journal of Computer and System Sciences 18:143-154, section 3 (their class H1). Two salts therefore split the units
    as if at random against each other.
    """

    a: int
    b: int

    @classmethod
    def of(cls, salt: str) -> Self:
        """The line of a salt: factor and offset from the first and the second 8 bytes of the salt's SHA-256."""
        digest = hashlib.sha256(salt.encode()).digest()
        first, second = digest[:_BYTES], digest[_BYTES : 2 * _BYTES]
        return cls(a=1 + int.from_bytes(first) % (MODULUS - 1), b=int.from_bytes(second) % MODULUS)

    def position(self, number: int) -> int:
        """Where the unit with this number stands, in [0, MODULUS - 1]; a bijection but for one position."""
        return (self.a * number + self.b) % MODULUS


def threshold(share: float) -> int:
    """The position before which a share of the line lies: ``round(share * MODULUS)``, never falling in `share`.

    Raises
    ------
    ValueError
        If `share` is not a proportion in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"A share of {share} is not a proportion between 0 and 1.")
    return round(share * MODULUS)
