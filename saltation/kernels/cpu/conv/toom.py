"""Matrices of convolutions by tiles: few multiplications for windows of three.

A line of ``m`` results takes ``m + 2`` multiplications in place of ``3 m``, a tile of both axes
``(m + 2)²`` in place of ``9 m²``: numbers and weights are polynomials, which are multiplied at as
many points, and the product is found from its values there.

Sources: Toom, 1963; Winograd, "Arithmetic complexity of computations", SIAM 1980; Lavin & Gray,
"Fast algorithms for convolutional neural networks", CVPR 2016; on points, Barabasz et al., "Error
analysis and improving the accuracy of Winograd convolution for deep neural networks", ACM TOMS
2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

TAPS = 3
Rows = tuple[tuple[Fraction, ...], ...]


class Toom(NamedTuple):
    """``A^T ((G g) * (B^T d))``, with * number by number, are the ``m`` results ``sum over k of
    d[i + k] g[k]`` of ``n = m + 2`` numbers ``d`` and three weights ``g``.

    Attributes
    ----------
    numbers
        ``B^T``, ``[n, n]``.
    weights
        ``G``, ``[n, 3]``.
    results
        ``A^T``, ``[m, n]``.
    """

    numbers: Rows
    weights: Rows
    results: Rows


def toom(points: Sequence[Fraction]) -> Toom:
    """For as many results as there are points, less one; infinity is a point beside them."""
    m = len(points) + 1 - (TAPS - 1)

    def powers(point: Fraction, count: int) -> tuple[Fraction, ...]:
        return tuple(point**i for i in range(count))

    def last(count: int) -> tuple[Fraction, ...]:
        return tuple(Fraction(i == count - 1) for i in range(count))

    numbers, weights = [], []
    for place, point in enumerate(points):
        others = [*points[:place], *points[place + 1 :]]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        numbers.append((*_with_roots(others), Fraction(0)))
        weights.append(tuple(power / scale for power in powers(point, TAPS)))
    numbers.append(tuple(_with_roots(points)))
    weights.append(last(TAPS))
    columns = [*(powers(point, m) for point in points), last(m)]
    results = tuple(zip(*columns, strict=True))
    return Toom(tuple(numbers), tuple(weights), results)


def _with_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the product of ``x - root``, the constant first."""
    found = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *found], [*(-root * one for one in found), Fraction(0)]
        found = [one + two for one, two in zip(shifted, scaled, strict=True)]
    return found
