"""Functions that NumPy lacks (the normal tail) or has not vectorised (log1p), as polynomials over pieces.

Both are mapped to where one short polynomial is enough, one for float32 and one for float64. The coefficients are
Chebyshev series, computed in 40 digits and rewritten in powers; no sum cancels, so small results keep their digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gpunet.kernels.blocks import scratch

#: erfcx(z) / (2 w) in powers of t, the constant first: the series to 1e-8 for float32, to 1e-16 for float64.
TAIL_SHORT = (
    0.17900115205225225, -0.14723237233990047, 0.09837132926735116, -0.05174528537675828,
    0.019922050115106185, -0.004466953599206028, -0.00020539517360067226, 0.0004955617837572674,
    -8.464176308529472e-05, -3.515494461401964e-05, 1.130493926201289e-05,
)  # fmt: skip
TAIL_LONG = (
    0.17900115118138996, -0.14723240886164723, 0.09837139285068466, -0.0517445436500972,
    0.019921293547833157, -0.004471205770675236, -0.00020206943697158091, 0.000505676999343023,
    -9.138495712474936e-05, -4.612963567035683e-05, 1.7926961818406415e-05, 5.0663419309544684e-06,
    -2.911928703818003e-06, -7.915047126839292e-07, 4.612914820100703e-07, 1.6646950238184957e-07,
    -6.861421349852676e-08, -3.897561334856754e-08, 8.326320276795412e-09, 8.530403661686783e-09,
    -5.946942809546184e-10, -1.448962378172638e-09, 1.1591570387523393e-12, 1.3517812160316654e-10,
)  # fmt: skip

#: log(1 + e) / s in powers of s^2, the constant first: to 1e-8 for float32, to 3e-18 for float64.
LOG_SHORT = (2.000000007681759, 0.6666632164137777, 0.40024595230703747, 0.27965157745197267, 0.2815777836310908)
LOG_LONG = (
    2.0, 0.6666666666666615, 0.4000000000018575, 0.28571428545454114, 0.22222224080747674, 0.18181740832504806,
    0.1538661404230401, 0.13300374032674625, 0.12110168728069218, 0.0832450651186082, 0.17044163562781398,
)  # fmt: skip


def polynomial(t: np.ndarray, coefficients: Sequence[float], out: np.ndarray) -> None:
    """out = sum of coefficients[k] t^k over a piece, by Horner's rule; `out` is not `t`."""
    np.multiply(t, coefficients[-1], out=out)
    for coefficient in coefficients[-2:0:-1]:
        np.add(out, coefficient, out=out)
        np.multiply(out, t, out=out)
    np.add(out, coefficients[0], out=out)


def log1p(e: np.ndarray, out: np.ndarray) -> None:
    """out = log(1 + e) for a piece with 0 <= e <= 1, which is used up.

    With s = e / (2 + e), at most a third, it is 2 artanh(s) = 2 (s + s^3 / 3 + ...) (Abramowitz & Stegun 1964,
    4.1.27): s times a polynomial in s^2. Scratch number 3 is used.
    """
    square = scratch(e, 3)
    np.add(e, 2, out=square)
    np.divide(e, square, out=e)
    np.multiply(e, e, out=square)
    polynomial(square, LOG_LONG if e.dtype == np.float64 else LOG_SHORT, out)
    np.multiply(out, e, out=out)


def upper_tail(x: np.ndarray, out: np.ndarray, bell: np.ndarray) -> None:
    """out = Q(|x|), the probability beyond |x| of a standard normal variable, and bell = exp(-x^2 / 2).

    All three are pieces (see `blocks.py`) and none may be another. The error is a few units in the last place,
    relative to Q; scratch number 3 is used.

    Q(a) is exp(-a^2 / 2) erfcx(z) / 2 with z = a / sqrt(2), and the scaled complementary error function erfcx
    is smooth enough for one polynomial over all of [0, inf): with w = 3 / (z + 3) and t = 1 - 2 w, the function
    erfcx(z) / w has a Chebyshev series in t that falls below 1e-8 after 11 terms and below 1e-16 after 24. The
    mapping is that of Shepherd & Laframboise 1981, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in
    0 <= x < inf", Math. Comp. 36.
    """
    t = scratch(x, 3)
    np.abs(x, out=bell)
    np.multiply(bell, 1 / (3 * math.sqrt(2)), out=bell)
    np.add(bell, 1, out=bell)
    np.reciprocal(bell, out=bell)  # w
    np.multiply(bell, -2, out=t)
    np.add(t, 1, out=t)
    polynomial(t, TAIL_LONG if x.dtype == np.float64 else TAIL_SHORT, out)
    np.multiply(out, bell, out=out)
    np.multiply(x, x, out=bell)
    np.multiply(bell, -0.5, out=bell)
    np.exp(bell, out=bell)
    np.multiply(out, bell, out=out)
