"""The normal distribution to forty digits, by other formulas than fastnet's: ``decimal`` alone.

The upper tail Q(t) of t >= 0 is phi(t) m(t). Far out, m is Laplace's continued fraction
1 / (t + 1 / (t + 2 / (t + 3 / ...))); near 0, Q is 1/2 less a series without cancellation,
phi(t) (t + t^3 / 3 + t^5 / 15 + ...).
"""

from __future__ import annotations

from decimal import Decimal, localcontext

_PI = Decimal("3.14159265358979323846264338327950288419716939937511")
_DIGITS = 50


def density(t: float) -> Decimal:
    """Return phi(t) = exp(-t^2 / 2) / sqrt(2 pi)."""
    with localcontext(prec=_DIGITS):
        exact = Decimal(t)
        return (-exact * exact / 2).exp() / (2 * _PI).sqrt()


def mills(t: float) -> Decimal:
    """Return the Mills ratio m(t) = Q(t) / phi(t) for t >= 0."""
    with localcontext(prec=_DIGITS):
        exact = Decimal(t)
        if t < 3:
            term = total = exact
            k = 1
            while term > Decimal(10) ** -_DIGITS:
                k += 2
                term *= exact * exact / k
                total += term
            return Decimal("0.5") / density(t) - total
        fraction = exact
        for k in range(400, 0, -1):
            fraction = exact + k / fraction
        return 1 / fraction


def gelu(z: float) -> Decimal:
    """Return z Phi(z)."""
    with localcontext(prec=_DIGITS):
        tail = abs(Decimal(z)) * density(z) * mills(abs(z))
        return max(Decimal(z), Decimal(0)) - tail


def gelu_derivative(z: float) -> Decimal:
    """Return Phi(z) + z phi(z)."""
    with localcontext(prec=_DIGITS):
        below = density(z) * (mills(abs(z)) - abs(Decimal(z)))
        return 1 - below if z > 0 else below
