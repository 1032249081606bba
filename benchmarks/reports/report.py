"""What a run of ``fastnet bench`` found: plain data, as the tables and files show it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

FORMAT: Final = "fastnet-bench/2"

PARTS: Final = ("ladder", "close", "startup", "widths", "kernels", "learning")
"""What can be measured."""

Kind = Literal["training", "one row", "many rows"]
Limit = Literal["fma", "copy", "read"]


@dataclass(frozen=True)
class Row:
    """One contender on one network.

    Attributes
    ----------
    contender, label, kind, version : str
        As in `fastnet.benchmarks.contenders.Entry`.
    threads : int
        How many it worked with, or was free to use where it does not tell.
    us : float
        Microseconds per call (a training step, or a prediction): the median over rounds of the
        fastest sample of each round.
    us_min, us_median : float
        Of all samples.
    us_rounds : list of float
        The fastest sample of each round.
    rows_per_second : float
    gflops : float
        Of the matrix products alone.
    share_of_peak : float or None
        `gflops` over the FMA peak of as many threads; None on a GPU.
    times_numpy : float or None
        The time of fastnet's NumPy backend over this time: how much faster this one is.
    times_fastnet : float or None
        This time over that of the fastest fastnet backend: how much faster that one is.
    parity : dict
        ``loss`` and ``outputs``: the differences from the reference; ``tolerance``.
    """

    contender: str
    label: str
    kind: str
    version: str
    threads: int
    us: float
    us_min: float
    us_median: float
    us_rounds: list[float]
    rows_per_second: float
    gflops: float
    share_of_peak: float | None
    times_numpy: float | None
    times_fastnet: float | None
    parity: dict[str, float | None]


@dataclass
class Table:
    """All contenders on one network.

    Attributes
    ----------
    kind : {"training", "one row", "many rows"}
        The last two are predictions.
    network, layers, activation, loss : str
    batch : int
        Rows in a call.
    parameters, flops : int
        `flops` of one call.
    rows : list of Row
        The fastest first.
    notes, failures : list of str
        Who could not take part and why; who failed the comparison with the reference.
    """

    kind: Kind
    network: str
    layers: str
    activation: str
    loss: str
    batch: int
    parameters: int
    flops: int
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Startup:
    """The time of a whole Python process, in milliseconds: the median of its runs."""

    what: str
    kind: str
    ms: float
    ms_runs: list[float]


@dataclass(frozen=True)
class KernelRow:
    """One version of a kernel at one size, on one thread.

    Attributes
    ----------
    size, version : str
    us : float
        Microseconds a call: the median over rounds of the fastest sample of each round.
    us_rounds : list of float
    rate : float
        GFLOP/s or GB/s, as the table's `limit` says.
    share : float
        `rate` over what this machine was measured to reach.
    error : float
        The largest, against float64, in the table's `unit`.
    """

    size: str
    version: str
    us: float
    us_rounds: list[float]
    rate: float
    share: float
    error: float


@dataclass
class KernelTable:
    """All versions of a kernel at all sizes.

    Attributes
    ----------
    kernel : str
    limit : {"fma", "copy", "read"}
        What bounds it: fused multiply-adds, or memory copied, or memory read.
    unit : str
        Of the errors.
    versions : dict of str to str
        The versions, in the order in which they were written, with why they lost, or won.
    production : str
        The version that fastnet uses.
    rows : list of KernelRow
    failures : list of str
        Versions that did not compute the right thing, and so were not timed.
    """

    kernel: str
    limit: Limit
    unit: str
    versions: dict[str, str]
    production: str
    rows: list[KernelRow] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fall:
    """A width at which the throughput falls by more than is allowed.

    Attributes
    ----------
    width, before : int
        It, and the width measured before it.
    ratio : float
        FLOP/s at the one over FLOP/s at the other: the median over rounds of that in a round.
    vectors : bool
        Whether the vector that has just been begun explains it: counted with widths rounded up
        to whole vectors, the throughput does not fall so far.
    """

    width: int
    before: int
    ratio: float
    vectors: bool


@dataclass(frozen=True)
class Curve:
    """Training steps of ``64-H-H-10`` against H, the hidden width.

    Attributes
    ----------
    threads : int
        At most; fastnet chooses how many of them pay.
    layers : str
    batch : int
    widths : list of int
    us, gflops : list of float
        For each width.
    falls : list of Fall
    """

    threads: int
    layers: str
    batch: int
    widths: list[int]
    us: list[float]
    gflops: list[float]
    falls: list[Fall]


@dataclass(frozen=True)
class Learner:
    """One contender's whole training on Fashion-MNIST.

    Attributes
    ----------
    seconds : float
        The median of `seconds_runs`.
    accuracy : float
        On the 10,000 rows for testing, after the last run.
    """

    contender: str
    label: str
    kind: str
    version: str
    threads: int
    seconds: float
    seconds_runs: list[float]
    accuracy: float


@dataclass
class Report:
    """A run.

    Attributes
    ----------
    created : str
        Date and time, UTC.
    machine, peak, budget : dict
        As `machine.describe`, `peak.Peak` and `timing.Budget` have it.
    tables : list of Table
        The ladder, and the second table.
    startup : list of Startup
    kernels : list of KernelTable
    widths : list of Curve
    learning : list of Learner
    skipped : dict of str to str
        Networks and contenders that were left out, with the reason.
    wrong : list of str
        Contenders outside the tables that failed the comparison with the reference.
    """

    created: str
    machine: dict[str, Any]
    peak: dict[str, Any]
    budget: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    startup: list[Startup] = field(default_factory=list)
    kernels: list[KernelTable] = field(default_factory=list)
    widths: list[Curve] = field(default_factory=list)
    learning: list[Learner] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    format: str = FORMAT

    @property
    def failures(self) -> list[str]:
        """Everything that failed the comparison with the reference."""
        return [failure for table in self.tables for failure in table.failures] + self.outside

    @property
    def outside(self) -> list[str]:
        """Those of them that are not in the ladder."""
        return [failure for table in self.kernels for failure in table.failures] + self.wrong

    def to_json(self) -> str:
        """Return all of it as JSON."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it."""
    return value if math.isfinite(value) else None


# --- numbers as a reader wants them --------------------------------------------------------------


def significant(value: float, digits: int = 3) -> str:
    """Return a number with about three significant digits, thousands marked: ``0.371``, ``8,173``.

    Digits before the point are never rounded away.
    """
    if value == 0 or not math.isfinite(value):
        return str(value)
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def scaled(value: float) -> str:
    """Return a large number with a prefix for its unit: ``10.8 M``."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{significant(value / factor)} {prefix}"
    return f"{significant(value)} "


def times(value: float | None) -> str:
    """Return a ratio: ``3.10x``; a dash where there is none."""
    return "-" if value is None else f"{significant(value, 3 if value >= 1 else 2)}x"


def microseconds(value: float) -> str:
    """Return a time in a unit that suits it: ``0.371 µs``, ``8.17 ms``."""
    if value >= 1e6:
        return f"{significant(value / 1e6)} s"
    return f"{significant(value / 1e3)} ms" if value >= 1e4 else f"{significant(value)} µs"


def percent(value: float | None) -> str:
    """Return a share: ``65 %``; a dash where there is none."""
    if value is None:
        return "-"
    if value < 0.0005:
        return "<0.1 %"
    return f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.1f} %"


def peak_text(peak: dict[str, Any]) -> str:
    """Return the measured peak: ``290 GFLOP/s on one thread, 520 on 2``."""
    text = f"{significant(peak['one_thread'])} GFLOP/s on one thread"
    if peak["threads"] > 1:
        text += f", {significant(peak['all_threads'])} on {peak['threads']}"
    return text


def heading(table: Table) -> str:
    """Return what a table is about, in a line."""
    what = {
        "training": f"batch {table.batch}, {scaled(table.flops)}FLOP a step",
        "one row": "prediction, one row a call",
        "many rows": f"prediction, {table.batch:,} rows a call",
    }[table.kind]
    return f"{table.layers}, {table.activation}, {table.parameters:,} parameters; {what}"
