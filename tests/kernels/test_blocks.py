"""Large matrix products from packed blocks have the bits of the plain kernel, in every form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn

numba = pytest.importorskip("numba", reason="Numba is not installed")

from fastnet.backends import numba_products  # noqa: E402
from fastnet.backends.threads import cores  # noqa: E402
from fastnet.kernels.cpu import native  # noqa: E402
from fastnet.kernels.cpu.jit import call_at  # noqa: E402
from fastnet.kernels.cpu.machine import VECTOR_BYTES  # noqa: E402
from fastnet.kernels.cpu.microkernel import WIDEST  # noqa: E402
from tests.kernels.test_gemm import address, guarded, is_untouched, product  # noqa: E402

Array = NDArray[Any]

DTYPES = [np.float32, np.float64]
ROWS = [1, 3, 13, 29]
WIDTHS = [1, 5, 16, 17, 63, 64, 65, 130, 201]
WIDE = 601
DEPTHS = [1, 7, 24, 1000]


@numba.njit(error_model="numpy")
def call_blocked(kernel, arguments):  # type: ignore[no-untyped-def]
    call_at(kernel, arguments)


def in_blocks(
    a: Array,
    b: Array,
    depth: int,
    bias: Array | None = None,
    relu: bool = False,
    where: Array | None = None,
    *,
    turned_rows: int = 5,
) -> Array:
    """Return ``a @ b + bias`` in blocks of `depth`; `a` and `b` may be transposed views."""
    (m, k), n = a.shape, b.shape[1]
    c, memory = guarded((m, n), b.dtype)
    wide = WIDEST * VECTOR_BYTES // b.itemsize
    strides_a, strides_b = ([stride // b.itemsize for stride in x.strides] for x in (a, b))
    columns = 2 * wide if strides_a[1] == 1 else wide + turned_rows
    room, beyond = guarded((depth * columns,), b.dtype)
    call_blocked(
        native.kernel("blocked", b.dtype).address,
        (
            *(c.ctypes.data, n, a.ctypes.data, *strides_a, b.ctypes.data, *strides_b, m, n, k),
            *(address(bias), int(relu), address(where), room.ctypes.data, room.size, depth),
        ),
    )
    assert is_untouched(memory) and is_untouched(beyond)
    return c


def factors(dtype: Any, *, of_transposed: bool = False) -> Iterator[tuple[Array, Array, Array]]:
    """Yield a (m, k), which may be a transposed view, b (k, n) and the start of a row of c."""
    rng = np.random.default_rng(0)
    # Gradients of small weights are computed in place, so those of wide ones are needed, too.
    widths = [*WIDTHS, WIDE] if of_transposed else WIDTHS
    for m in ROWS:
        for n in widths:
            k = 2 + (7 * m + n) % 70
            shape = (k, m) if of_transposed else (m, k)
            a = rng.standard_normal(shape).astype(dtype)
            b, bias = rng.standard_normal((k, n)).astype(dtype), rng.standard_normal(n)
            yield a.T if of_transposed else a, b, bias.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_forward_product_has_the_bits_of_the_plain_kernel(depth: int, dtype: Any) -> None:
    for a, b, bias in factors(dtype):
        for relu in (False, True):
            assert np.array_equal(in_blocks(a, b, depth, bias, relu), product(a, b, bias, relu))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_gradient_of_inputs_has_the_bits_of_the_plain_kernel(depth: int, dtype: Any) -> None:
    for a, b, _ in factors(dtype):
        where = np.random.default_rng(1).standard_normal((len(a), b.shape[1])).astype(dtype)
        turned = np.ascontiguousarray(b.T).T
        for kept in (None, where):
            assert np.array_equal(
                in_blocks(a, turned, depth, where=kept), product(a, b, where=kept)
            )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("rows", [1, 5, 100])
def test_the_gradient_of_weights_has_the_bits_of_the_plain_kernel(
    rows: int, depth: int, dtype: Any
) -> None:
    for a, b, _ in factors(dtype, of_transposed=True):
        assert np.array_equal(in_blocks(a, b, depth, turned_rows=rows), product(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_single_input_is_no_gradient(dtype: Any) -> None:
    """Its column has the strides of a transposed matrix, and its product has a bias."""
    rng = np.random.default_rng(2)
    a, b, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((20, 1), (1, 65), 65))
    assert a.strides == a.T.strides
    assert np.array_equal(in_blocks(a, b, 1024, bias, True), product(a, b, bias, True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_infinity_and_negative_zero_pass_from_block_to_block(dtype: Any) -> None:
    a = np.ones((20, 50), dtype)
    b = np.full((50, 70), -0.0, dtype)
    b[3, 5], b[40, 9] = np.nan, np.inf
    got, expected = in_blocks(a, b, 8), product(a, b)
    assert np.array_equal(got.view(np.uint8), expected.view(np.uint8))


# --- whole trainings ------------------------------------------------------------------------------

NEVER = 2**62


def trained(
    layers: Any, inputs: int, monkeypatch: pytest.MonkeyPatch, *, large: int, depth: int, **fit: Any
) -> tuple[bytes, bytes]:
    """Return parameters and predictions after a training whose products of `large` are blocked."""
    dtype = fit.pop("dtype")
    room = depth * np.dtype(dtype).itemsize * (256 + 5)
    for name, value in (("LARGE", large), ("DEPTH", depth), ("LEAST_ROOM", room)):
        monkeypatch.setattr(numba_products, name, value)
    net = fn.Network(layers, inputs=inputs, backend="numba", dtype=dtype, seed=0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, inputs)).astype(dtype)
    y = abs(rng.standard_normal((150, layers[-1].units))).astype(dtype)
    net.fit(x, y, epochs=2, batch_size=67, **fit)
    return net.parameters.tobytes(), np.asarray(net.predict(x)).tobytes()


NETWORKS = {
    "relu": [fn.Dense(130, "relu"), fn.Dense(70, "relu"), fn.Dense(3)],
    "tanh": [fn.Dense(130, "tanh"), fn.Dense(65, "tanh"), fn.Dense(20)],
    "others": [
        fn.Dense(40, "relu"),
        fn.BatchNorm(),
        fn.Residual([fn.Dense(40, "relu"), fn.Dropout(0.2)]),
        fn.LayerNorm(),
        fn.Dense(17, "softplus"),
    ],
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_training_in_blocks_changes_no_bit(
    layers: Any, dtype: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(large: int, depth: int) -> tuple[bytes, bytes]:
        return trained(
            layers,
            37,
            monkeypatch,
            large=large,
            depth=depth,
            dtype=dtype,
            threads=min(threads, cores()),
        )

    expected = run(NEVER, 1024)
    for depth in (1024, 19):
        assert run(1, depth) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_are_the_same_just_above_the_size_and_just_below(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def blocked(dtype: Any) -> int:
        calls.append(dtype)
        return native.kernel("blocked", dtype).address

    monkeypatch.setattr(numba_products, "blocked_for", blocked)
    layers = [fn.Dense(160, "relu"), fn.Dense(160, "relu"), fn.Dense(2)]
    size = 160 * 160 * np.dtype(dtype).itemsize
    found, needed = [], []
    for large in (size, size + 1):
        calls.clear()
        found.append(trained(layers, 30, monkeypatch, large=large, depth=50, dtype=dtype))
        needed.append(bool(calls))
    assert found[0] == found[1]
    assert needed == [True, False]


@pytest.mark.parametrize(
    ("sizes", "rows", "needed"),
    [
        ([20, 512, 512, 2], 64, True),
        ([20, 512, 511, 2], 64, False),
        ([20, 512, 512, 2], 15, False),
        ([784, 128, 10], 2048, True),
        ([784, 128, 10], 2047, False),
        ([2, 1], 300_000, False),
    ],
    ids=str,
)
def test_a_network_compiles_blocks_only_if_a_product_is_large(
    sizes: list[int], rows: int, needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(numba_products, "blocked_for", lambda dtype: calls.append(dtype) or 0)
    net = fn.Network(sizes, backend="numba")
    net.backend_object.engine(net.plan, net.parameters, np.zeros(0, net.dtype)).reserve(rows)
    assert bool(calls) == needed
