"""Samples of group-sequential designs: the most units they may need, and how many to expect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.group_sequential.design import GroupSequentialDesign
from stats.sample_size import SampleSize, sample_size_means, sample_size_proportions
from stats.status import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupSequentialSize:
    """Units a group-sequential experiment may need; real numbers.

    Attributes
    ----------
    fixed
        Units with a single look at the end.
    maximum
        Units if the experiment runs to its planned end.
    expected_h0, expected_h01, expected_h1
        Expected units over all arms, shape ``cells``: under no effect, half the effect and the effect planned for.
        With several treatments: if each pair stopped by itself.
    looks
        Units over all arms at each planned look, shape ``(*cells, looks)``.
    """

    fixed: SampleSize
    maximum: SampleSize
    expected_h0: FloatArray
    expected_h01: FloatArray
    expected_h1: FloatArray
    looks: FloatArray


def group_sequential_size(fixed: SampleSize, design: GroupSequentialDesign) -> GroupSequentialSize:
    """Turn the sample of a fixed-horizon design into that of a group-sequential design.

    Parameters
    ----------
    fixed
        Units of any fixed-horizon design (means, proportions, lift, ratio, non-inferiority ...) with the alpha, sides
        and power of `design`.
    design
        The looks and how they spend the errors.

    Notes
    -----
    Every sample is multiplied by the inflation factor, ``drift**2 / (z_alpha + z_beta)**2``: Jennison and Turnbull
    (2000), section 2.3.

    Examples
    --------
    >>> design = GroupSequentialDesign.equally_spaced(4, power=0.8)
    >>> fixed = sample_size_means(0.5, 2.0, power=0.8, reference="normal")
    >>> size = group_sequential_size(fixed, design)
    >>> size.maximum.rounded()[0].item(), round(float(size.expected_h1), 1)
    (257, 421.3)
    """
    properties = design.properties()
    factor = properties.inflation
    total = fixed.total
    return GroupSequentialSize(
        fixed=fixed,
        maximum=SampleSize(
            control=fixed.control * factor, treatment=fixed.treatment * factor, treatments=fixed.treatments
        ),
        expected_h0=total * properties.expected_h0,
        expected_h01=total * properties.expected_h01,
        expected_h1=total * properties.expected_h1,
        looks=np.asarray(total[..., np.newaxis] * factor * design.rates, np.float64),
    )


def group_sequential_size_means(
    effect: npt.ArrayLike,
    sd: npt.ArrayLike,
    design: GroupSequentialDesign,
    *,
    sd_treatment: npt.ArrayLike | None = None,
    allocation: float = 1.0,
    treatments: int = 1,
    reference: str = "normal",
) -> GroupSequentialSize:
    """Units needed to find a difference of means.

    Parameters
    ----------
    effect
        Smallest difference to find, in the units of the metric, not 0.
    sd, sd_treatment
        Standard deviation per unit; of control only if `sd_treatment` is given.
    design
        Its alpha is that of each treatment's comparison: divide it yourself among several.
    allocation
        Units in each treatment per unit in control, positive.
    treatments
        Number of treatments.
    reference
        ``"normal"``, or ``"t"`` to inflate the fixed sample of the t-test.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range.

    Examples
    --------
    >>> design = GroupSequentialDesign.equally_spaced(4, alpha=0.025, sides="one-sided")
    >>> round(float(group_sequential_size_means(0.5, 2.0, design).maximum.total), 1)
    512.2
    """
    fixed = sample_size_means(
        effect,
        sd,
        power=design.power,
        sd_treatment=sd_treatment,
        reference=reference,
        alpha=design.alpha,
        sides=design.sides,
        treatments=treatments,
        allocation=allocation,
        correction="none",
    )
    return group_sequential_size(fixed, design)


def group_sequential_size_proportions(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    design: GroupSequentialDesign,
    *,
    variance: str = "unpooled",
    allocation: float = 1.0,
    treatments: int = 1,
) -> GroupSequentialSize:
    """Units needed to find a difference of proportions.

    Parameters
    ----------
    control, treatment
        Proportions to tell apart, in (0, 1) and different.
    design
        Its alpha is that of each treatment's comparison: divide it yourself among several.
    variance
        ``"unpooled"``, ``"pooled"`` under the null hypothesis (as rpact), ``"arcsine"`` or ``"evan_miller"``; see
        `stats.sample_size.sample_size_proportions`.
    allocation, treatments
        As for `group_sequential_size_means`.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range, for example a rate of 1 or more.

    Examples
    --------
    >>> design = GroupSequentialDesign.equally_spaced(4, alpha=0.025, sides="one-sided")
    >>> round(float(group_sequential_size_proportions(0.1, 0.12, design, variance="pooled").maximum.total))
    7833
    """
    fixed = sample_size_proportions(
        control,
        treatment,
        power=design.power,
        variance=variance,
        alpha=design.alpha,
        sides=design.sides,
        treatments=treatments,
        allocation=allocation,
        correction="none",
    )
    return group_sequential_size(fixed, design)


def information_for(effect: npt.ArrayLike, design: GroupSequentialDesign) -> FloatArray:
    """Maximum information, ``1 / se**2``, that finds an effect: whatever is measured, however it is adjusted.

    Parameters
    ----------
    effect
        Effect planned for, in any unit, not 0.

    Notes
    -----
    ``drift**2 / effect**2``; a single look needs ``fixed_drift**2 / effect**2``. Mehta and Tsiatis (2001), Drug
    Information Journal 35:1095-1112, on information-based monitoring.

    Examples
    --------
    >>> design = GroupSequentialDesign.equally_spaced(4)
    >>> round(float(information_for(0.5, design)), 2), round(float(information_for(0.5, design) * 0.25), 3)
    (32.01, 8.003)
    """
    size = np.asarray(effect, np.float64)
    return np.asarray((design.properties().drift / size) ** 2, np.float64)
