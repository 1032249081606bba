"""The kernel laboratory: no version is timed that is wrong, and every version is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

from fastnet.benchmarks import timing
from fastnet.benchmarks.lab import measure, products, rows
from fastnet.benchmarks.lab.kernel import (
    Case,
    Kernel,
    Version,
    in_python,
    largest,
    units,
)
from fastnet.benchmarks.ladder import LADDER
from fastnet.benchmarks.peak import Peak
from fastnet.benchmarks.reports.grids import kernel_grid

SHORT = timing.Budget(rounds=3, samples=1, seconds=1e-5)
PEAK = Peak(100.0, 150.0, threads=2, method="made up", copy_gbs=10.0)

each_kernel = pytest.mark.parametrize("kernel", measure.KERNELS, ids=lambda kernel: kernel.name)


@each_kernel
def test_every_version_computes_the_same_as_float64(kernel: Kernel) -> None:
    for case in kernel.cases(True):
        for version in kernel.versions:
            arguments = case.make()
            version.prepare(*arguments)(1)
            assert case.error(arguments) <= case.bound, f"{version.name} at {case.size}"


@each_kernel
def test_what_is_left_unwritten_is_wrong(kernel: Kernel) -> None:
    """A version that does nothing must fail, whatever the kernel."""
    for case in kernel.cases(True):
        assert not case.error(case.make()) <= case.bound


@each_kernel
def test_every_version_says_why_it_lost_or_won(kernel: Kernel) -> None:
    names = [version.name for version in kernel.versions]
    assert len(set(names)) == len(names) > 1
    assert all(version.why for version in kernel.versions)


@each_kernel
def test_every_run_begins_with_the_same_arguments(kernel: Kernel) -> None:
    for case in kernel.cases(True):
        for one, other in zip(case.make(), case.make(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_every_product_of_the_ladder_is_measured() -> None:
    sizes = {
        kernel.name: {case.size for case in kernel.cases(False)} for kernel in products.KERNELS
    }
    for rung in LADDER.values():
        if rung.batch is None:
            continue
        for index, (wide, narrow) in enumerate(zip(rung.sizes, rung.sizes[1:], strict=False)):
            size = f"{rung.batch} x {wide} x {narrow}"
            assert size in sizes["relu(x w + b)"]
            assert size in sizes["x' dz"]
            assert index == 0 or size in sizes["dz w'"]


def scaled(by: float) -> Version:
    """Return the sums of columns, too large by a factor."""

    def sums(out: Any, a: Any) -> None:
        out[...] = a.sum(axis=0) * np.float32(by)

    return Version(f"times {by}", "made up", in_python(sums))


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Sums of columns, and a version that is wrong in the fourth digit."""
    monkeypatch.setattr(measure, "QUICK", SHORT)
    monkeypatch.setattr(measure, "_memory_rate", lambda limit, footprint: 10.0)
    kernel = next(kernel for kernel in rows.KERNELS if kernel.name == "sums of columns")
    return replace(kernel, versions=(scaled(1.0), scaled(1.001)))


def test_a_wrong_version_is_named_and_not_timed(sums: Kernel) -> None:
    (table,) = measure.measure(True, PEAK, lambda text: None, [sums])
    assert {row.version for row in table.rows} == {"times 1.0"}
    assert len(table.failures) == len(sums.cases(True))
    assert table.failures[0].startswith("sums of columns, times 1.001, at 64 x 64: wrong by ")


def test_rates_and_shares_are_those_of_the_times(sums: Kernel) -> None:
    (table,) = measure.measure(True, PEAK, lambda text: None, [sums])
    work = {case.size: case.work for case in sums.cases(True)}
    for row in table.rows:
        assert row.us == pytest.approx(np.median(row.us_rounds))
        assert row.rate == pytest.approx(work[row.size] / row.us / 1e3)
        assert row.share == pytest.approx(row.rate / 10.0)


def test_the_limit_of_a_product_is_the_peak_of_one_thread() -> None:
    assert measure.limit_of("fma", 1 << 20, PEAK) == 100.0


def test_the_limit_of_what_moves_memory_is_measured() -> None:
    copy, read = (measure.limit_of(limit, 1 << 16, PEAK) for limit in ("copy", "read"))
    assert copy > 0
    assert read > 0


def test_the_table_has_a_row_for_each_size_and_the_worst_error(sums: Kernel) -> None:
    (table,) = measure.measure(True, PEAK, lambda text: None, [sums])
    grid = kernel_grid(table)
    assert [row[0] for row in grid.rows] == ["64 x 64", "33 x 65", "largest error"]
    assert grid.rows[-1][1].endswith(" eps")


def test_errors_are_counted_in_units_in_the_last_place() -> None:
    exact = np.array([1.0, 3.0])
    off = np.array([1.0, np.nextafter(np.float32(3), np.float32(4))], np.float32)
    assert units(off, exact) == 1.0
    assert units(exact.astype(np.float32), exact) == 0.0


def test_a_nan_is_an_infinite_error_and_nothing_over_nothing_is_none() -> None:
    assert largest(np.array([0.0, np.nan])) == np.inf
    assert largest(np.array([0.0]), np.array([0.0])) == 0.0
    assert largest(np.array([1.0]), np.array([0.0])) == np.inf


def test_a_case_is_as_large_as_its_arrays() -> None:
    case: Case = products.KERNELS[1].cases(True)[0]
    assert case.footprint == sum(array.nbytes for array in case.make())
