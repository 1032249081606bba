"""The kernel laboratory: no version is timed that is wrong, and every version is right."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

from fastnet.benchmarks import command, timing
from fastnet.benchmarks.lab import libxsmm, measure, products, rows
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
from tests.benchmarks.test_benchmarks import bench

SHORT = timing.Budget(rounds=3, samples=1, seconds=1e-5)
PEAK = Peak(100.0, 150.0, threads=2, method="made up", copy_gbs=10.0)

each_kernel = pytest.mark.parametrize("kernel", measure.KERNELS, ids=lambda kernel: kernel.name)


@each_kernel
def test_every_version_computes_the_same_as_float64(kernel: Kernel) -> None:
    for case in kernel.cases(True):
        for version in kernel.versions:
            arguments = case.make()
            run = version.prepare(*arguments)
            if run is None:
                assert version.name == libxsmm.NAME
                continue
            run(1)
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


# --- LIBXSMM: a library that may be absent, and a stand-in for it ---------------------------------


@pytest.fixture
def products_alone(monkeypatch: pytest.MonkeyPatch) -> list[Kernel]:
    """The three products, in the library's version and in fastnet's."""
    monkeypatch.setattr(measure, "QUICK", SHORT)
    alone = []
    for kernel in products.KERNELS:
        library = next(version for version in kernel.versions if version.name == libxsmm.NAME)
        alone.append(replace(kernel, versions=(library, kernel.versions[-1])))
    return alone


def stand_in(product: Callable[..., Any]) -> libxsmm.Library:
    """Return a library of Python functions; `product` has matrices that lie column by column."""

    def matrix(address: int, rows: int, columns: int) -> Any:
        flat = np.ctypeslib.as_array((ctypes.c_float * (rows * columns)).from_address(address))
        return flat.reshape((rows, columns), order="F")

    def dispatch(m: int, n: int, k: int, *others: Any) -> Any:
        *leading, alpha, beta, flags, prefetch = others
        turned = flags.value == libxsmm.SECOND_TURNED
        assert [*leading, alpha] == [None] * 4
        assert beta.value == prefetch.value == 0

        def call(a: int, b: int, c: int) -> None:
            second = matrix(b, n, k).T if turned else matrix(b, k, n)
            matrix(c, m, n)[...] = product(matrix(a, m, k), second)

        return libxsmm.PRODUCT(call)

    @libxsmm.TRANSPOSE
    def transpose(out: int, given: int, size: int, m: int, n: int, ldi: int, ldo: int) -> None:
        assert (size, ldi, ldo) == (4, m, n)
        matrix(out, n, m)[...] = matrix(given, m, n).T

    return libxsmm.Library(dispatch, transpose)


def test_libxsmm_is_given_what_its_interface_asks_for(
    products_alone: list[Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libxsmm, "library", lambda: stand_in(np.matmul))
    assert libxsmm.absent() == {}
    for table in measure.measure(True, PEAK, lambda text: None, products_alone):
        assert not table.failures
        assert {row.version for row in table.rows} == {libxsmm.NAME, table.production}


def test_a_wrong_product_of_libxsmm_is_refused(
    products_alone: list[Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = stand_in(lambda a, b: a @ b * np.float32(1.001))
    monkeypatch.setattr(libxsmm, "library", lambda: wrong)
    for table in measure.measure(True, PEAK, lambda text: None, products_alone):
        assert {row.version for row in table.rows} == {table.production}
        assert len(table.failures) == 2
        assert all(f"{table.kernel}, LIBXSMM, at " in failure for failure in table.failures)


def test_a_size_without_code_has_no_row(
    products_alone: list[Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stand_in(np.matmul)

    def dispatch(m: int, *others: Any) -> Any:
        return libxsmm.PRODUCT() if m == 65 else whole.dispatch(m, *others)

    monkeypatch.setattr(libxsmm, "library", lambda: whole._replace(dispatch=dispatch))
    (table,) = measure.measure(True, PEAK, lambda text: None, products_alone[:1])
    column = [row[1] for row in kernel_grid(table).rows]
    assert column[0] != "-"
    assert column[1] == "-"


@pytest.mark.parametrize("compiler", [None, "exit 1", ': > "$3"'])
def test_without_libxsmm_the_report_says_so_and_the_rest_is_measured(
    compiler: str | None,
    products_alone: list[Kernel],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """No compiler, one that does not find the library, and one whose file is no library."""
    if compiler is not None:
        (tmp_path / "cc").write_text(f"#!/bin/sh\n{compiler}\n", encoding="utf-8")
        (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(libxsmm, "library", libxsmm.library.__wrapped__)
    assert libxsmm.absent() == {
        "LIBXSMM": "not installed: Debian's libxsmm-dev (1.17), or a C compiler to link it"
    }
    for table in measure.measure(True, PEAK, lambda text: None, products_alone):
        assert {row.version for row in table.rows} == {table.production}
        assert not any("LIBXSMM" in note for note in kernel_grid(table).notes)


@pytest.mark.parametrize("library", [None, stand_in(np.matmul)], ids=["absent", "there"])
def test_the_command_names_libxsmm_where_it_is_absent(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_PEAK_SECONDS", {True: 0.01, False: 0.01})
    monkeypatch.setattr(measure, "measure", lambda *arguments: [])
    monkeypatch.setattr(libxsmm, "library", lambda: library)
    code, text = bench(parts=("kernels",), networks=())
    assert code == 0
    assert (f"skipped LIBXSMM: {libxsmm.ABSENT}" in text) == (library is None)
