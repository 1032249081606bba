"""exp, expm1, log, log1p, tanh, and what the normal distribution is made of, of whole vectors.

They need neither a table nor a branch, only arithmetic and the bits of a power of two. Their errors
are at most 2 units in the last place for exp and expm1 (where the result is a normal number) and
for log (of positive normal numbers), 3 for log1p on [0, 1] and density, 4 for tanh and 5 for
mills; tests compare all magnitudes with numbers of twice the precision. NaN gives NaN, and
infinities give the limits.

exp(x) = 2^n exp(r) with n = round(x / log 2), |r| <= log(2) / 2, and a polynomial for
(exp(r) - 1 - r) / r^2. The coefficients are Chebyshev fits made with mpmath for this module.
"""

from __future__ import annotations

import math
from typing import Any, Final

from llvmlite import ir
from numba.extending import intrinsic

from fastnet.kernels import abi
from fastnet.kernels.cpu.lanes import Lanes
from fastnet.kernels.cpu.vectors import Vectors, get_function

# (exp(r) - 1 - r) / r^2 on |r| <= log(2) / 2: errors 1.4e-9 and 1.4e-18.
_EXP32: Final = (
    0.50000000134658092001,
    0.16666666681623231402,
    0.041666464925285905408,
    0.0083333109254809008349,
    0.0013933649996309250429,
    0.00019890990824673653847,
)
_EXP64: Final = (
    0.5,
    0.16666666666666670991,
    0.041666666666666669755,
    0.0083333333333261351258,
    0.0013888888888883748305,
    0.00019841269874820625271,
    0.000024801587325547741216,
    2.755725540020642443e-6,
    2.7557273643110295328e-7,
    2.5105217004720745163e-8,
    2.0914686968086877232e-9,
)
# (atanh(s) / s - 1) / s^2 in s^2, on 0 <= s <= 1/3: errors 9e-11 and 1.2e-18.
_ATANH32: Final = (
    0.3333333332500654678,
    0.20000005387839271774,
    0.14285152618870456058,
    0.11132362607968639811,
    0.087322699045877617567,
    0.10394134665037601664,
)
_ATANH64: Final = (
    0.33333333333333333443,
    0.19999999999999760999,
    0.14285714285800132131,
    0.11111111099108056259,
    0.090909099496339794875,
    0.076922719588765822666,
    0.066675898307578551354,
    0.058671325896882965577,
    0.054226455163899063783,
    0.037458197303366328136,
    0.078157673537156121897,
)
# log 2 in two parts: the first has so few bits that its product with n is exact.
_LOG2_HIGH: Final = {32: 0.693359375, 64: 0.69314718036912381649}
_LOG2_LOW: Final = {32: -2.1219444005469058277e-4, 64: 1.9082149292705877e-10}
# The bits of 1 / sqrt(2).
_ROOT_HALF: Final = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}
# Beyond these exp is 0 or infinite.
_LOWEST: Final = {32: -104.0, 64: -746.0}
_HIGHEST: Final = {32: 89.0, 64: 710.0}
_COEFFICIENTS: Final = {
    "exp": {32: _EXP32, 64: _EXP64},
    "atanh": {32: _ATANH32, 64: _ATANH64},
    "mills": {32: abi.MILLS32, 64: abi.MILLS64},
}


class _Emitter:
    """Builds the code of one function at one precision; every value is an LLVM vector."""

    def __init__(self, builder: Any, bits: int) -> None:
        self.builder, self.bits = builder, bits
        self._vectors = Vectors(builder, bits)
        self.real, self.lanes = self._vectors.type, self._vectors.lanes
        self.integers = ir.VectorType(ir.IntType(bits), self.lanes)
        self.fma = self._vectors.fma
        # The number of bits of the fraction, and the bias of the exponent.
        self.format = (23, 127) if bits == 32 else (52, 1023)

    def number(self, value: float) -> Any:
        return ir.Constant(self.real, [value] * self.lanes)

    def integer(self, value: int) -> Any:
        return ir.Constant(self.integers, [value] * self.lanes)

    def polynomial(self, name: str, x: Any) -> Any:
        """Evaluate a row of `_COEFFICIENTS` at x by Horner's rule."""
        *rest, total = map(self.number, _COEFFICIENTS[name][self.bits])
        for coefficient in reversed(rest):
            total = self.fma(total, x, coefficient)
        return total

    def clamp(self, x: Any, low: float, high: float) -> Any:
        """Return x within bounds; NaN stays NaN."""
        b = self.builder
        low, high = self.number(low), self.number(high)
        x = b.select(b.fcmp_ordered("<", x, low), low, x)
        return b.select(b.fcmp_ordered(">", x, high), high, x)

    def nearest(self, x: Any) -> Any:
        """Return x rounded to a whole number."""
        name = f"llvm.rint.v{self.lanes}f{self.bits}"
        return self.builder.call(get_function(self.builder, name, self.real, [self.real]), [x])

    def power_of_two(self, n: Any) -> Any:
        """Return 2^n for an integer n in the range of normal numbers, from its bits."""
        digits, bias = self.format
        biased = self.builder.add(n, self.integer(bias))
        return self.builder.bitcast(self.builder.shl(biased, self.integer(digits)), self.real)

    def reduce(self, x: Any) -> tuple[Any, Any]:
        """Return n as an integer, and expm1(r), for a clamped x = n log 2 + r."""
        b = self.builder
        n = self.nearest(b.fmul(x, self.number(1.0 / math.log(2.0))))
        minus = b.fsub(self.number(0.0), n)
        r = self.fma(minus, self.number(_LOG2_HIGH[self.bits]), x)
        r = self.fma(minus, self.number(_LOG2_LOW[self.bits]), r)
        tail = b.fmul(b.fmul(r, r), self.polynomial("exp", r))
        return b.fptosi(n, self.integers), b.fadd(r, tail)

    def exp(self, x: Any) -> Any:
        b = self.builder
        clamped = self.clamp(x, _LOWEST[self.bits], _HIGHEST[self.bits])
        n, em = self.reduce(clamped)
        # In two factors: 2^n itself may be beyond the normal numbers at both ends.
        half = b.ashr(n, self.integer(1))
        y = b.fmul(b.fadd(em, self.number(1.0)), self.power_of_two(half))
        y = b.fmul(y, self.power_of_two(b.sub(n, half)))
        return b.select(b.fcmp_unordered("uno", x, x), x, y)

    def expm1(self, x: Any) -> Any:
        """2^n expm1(r) + (2^n - 1), halved and doubled since 2^n may overflow."""
        b = self.builder
        n, em = self.reduce(self.clamp(x, -50.0, _HIGHEST[self.bits]))
        half, two = self.number(0.5), self.number(2.0)
        scale = self.power_of_two(b.sub(n, self.integer(1)))
        y = b.fmul(self.fma(scale, em, b.fsub(scale, half)), two)
        return b.select(b.fcmp_unordered("uno", x, x), x, y)

    def log1p(self, x: Any) -> Any:
        """2 atanh(x / (2 + x)), for x in [0, 1]."""
        b = self.builder
        s = b.fdiv(x, b.fadd(x, self.number(2.0)))
        t = b.fmul(s, s)
        y = self.fma(b.fmul(s, t), self.polynomial("atanh", t), s)
        return b.fadd(y, y)

    def log(self, x: Any) -> Any:
        """n log 2 + 2 atanh((m - 1) / (m + 1)) for x = 2^n m, 1 / sqrt(2) <= m < sqrt(2)."""
        b, digits = self.builder, self.format[0]
        bits = b.bitcast(x, self.integers)
        # Relative to the bits of 1 / sqrt(2), the exponent field is n.
        start = self.integer(_ROOT_HALF[self.bits])
        shift = self.integer(digits)
        n = b.ashr(b.sub(bits, start), shift)
        m = b.bitcast(b.sub(bits, b.shl(n, shift)), self.real)
        one = self.number(1.0)
        s = b.fdiv(b.fsub(m, one), b.fadd(m, one))
        t = b.fmul(s, s)
        y = self.fma(b.fmul(s, t), self.polynomial("atanh", t), s)
        y = b.fadd(y, y)
        n = b.sitofp(n, self.real)
        y = self.fma(n, self.number(_LOG2_LOW[self.bits]), y)
        y = self.fma(n, self.number(_LOG2_HIGH[self.bits]), y)
        finite = b.fcmp_ordered("<", x, self.number(math.inf))
        return b.select(finite, y, x)

    def tanh(self, x: Any) -> Any:
        """sign(x) e / (e + 2) with e = expm1(2 |x|)."""
        b = self.builder
        negative = b.fcmp_ordered("<", x, self.number(0.0))
        minus = b.fsub(self.number(-0.0), x)
        size = b.select(negative, minus, x)
        size = self.clamp(size, 0.0, 22.0)
        e = self.expm1(b.fadd(size, size))
        y = b.fdiv(e, b.fadd(e, self.number(2.0)))
        y = b.select(negative, b.fsub(self.number(-0.0), y), y)
        return b.select(b.fcmp_unordered("uno", x, x), x, y)

    def mills(self, x: Any) -> Any:
        """Return the Mills ratio (1 - Phi(x)) / phi(x), for x in [0, NORMAL_FLAT]."""
        b, shift = self.builder, self.number(abi.MILLS_SHIFT)
        share = b.fdiv(self.number(1.0), b.fadd(x, shift))
        return b.fmul(self.polynomial("mills", b.fmul(b.fsub(x, shift), share)), share)

    def density(self, x: Any) -> Any:
        """Return phi(x) = exp(-x^2 / 2) / sqrt(2 pi), for x in [0, NORMAL_FLAT].

        The exponential would multiply the rounding of x^2 by x^2 / 2. With h, which is x rounded to
        a sixteenth, x^2 is h^2, which is exact, and (x - h) (x + h). Their sum is rounded, and what
        that takes away is a factor.
        """
        b, half = self.builder, self.number(0.5)
        h = b.fmul(self.nearest(b.fmul(x, self.number(16.0))), self.number(0.0625))
        large = b.fmul(half, b.fmul(h, h))
        small = b.fmul(half, b.fmul(b.fsub(x, h), b.fadd(x, h)))
        total = b.fadd(large, small)
        rest = b.fadd(b.fsub(large, total), small)
        y = self.exp(b.fsub(self.number(0.0), total))
        return b.fmul(y, b.fmul(self.number(abi.NORMAL_SCALE), b.fsub(self.number(1.0), rest)))


def _make(name: str) -> Any:
    """Return the function of that name as an intrinsic on `Lanes`."""

    @intrinsic
    def function(typingctx: Any, x: Any) -> Any:
        if not isinstance(x, Lanes):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(_Emitter(builder, x.dtype.bitwidth), name)(args[0])

        return x(x), codegen

    return function


exp, expm1, log, log1p, tanh = map(_make, ("exp", "expm1", "log", "log1p", "tanh"))
mills, density = map(_make, ("mills", "density"))
