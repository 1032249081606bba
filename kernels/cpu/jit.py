"""Compiles kernels: the flags, and what is compiled as part of what.

``@kernel`` is ``numba.njit`` with this project's flags and a cache of its own, `DiskCache`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Final

import numba
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, codegen
from numba.core.compiler import Compiler
from numba.extending import intrinsic

from fastnet.kernels.cpu.disk_cache import DiskCache

# error_model="numpy": with Python's, a test for division by zero keeps loops scalar.
_FLAGS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy"}

# For sums only: they may be added up in another order, which vectorises them. No "nnan" and no
# "ninf", which would let the compiler drop the tests for divergence.
FAST_MATH: Final = {"reassoc", "contract", "arcp", "nsz"}


class _PartLibrary(codegen.JITCodeLibrary):
    """The code of a function that only kernels call.

    Numba optimises every function and generates machine code for it, and then does both again
    within each of its callers. This class does neither, and leaves the function to the kernel that
    contains it: so the kernel compiles in half the time.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    @property
    def codegen(self) -> Any:
        # Numba calls the method below to write into machine code, and here there is none.
        return self

    def set_env(self, name: str, environment: Any) -> None:
        pass


class _PartCompiler(Compiler):
    def compile_extra(self, function: Any) -> Any:
        target = self.state.targetctx
        self.state.library = _PartLibrary(target.codegen(), function.__qualname__)
        return super().compile_extra(function)


_PART: Final = {
    **_FLAGS,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": _PartCompiler,
}


def kernel(function: Callable[..., Any], **flags: bool) -> Any:
    """Compile `function` on its first call, with the flags above, and cache the result on disk."""
    dispatcher = njit(**_FLAGS, **flags)(function)
    if not numba.config.DISABLE_JIT:
        dispatcher._cache = DiskCache(function)
        dispatcher.compile = _without_collections(dispatcher.compile)
    return dispatcher


def _without_collections(compile_one: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that compiles with the garbage collector off.

    A compilation makes millions of objects and keeps most of them. Collections took a tenth of its
    time.
    """

    def compile_in_one_go(signature: Any) -> Any:
        collecting = gc.isenabled()
        gc.disable()
        try:
            return compile_one(signature)
        finally:
            if collecting:
                gc.enable()

    return compile_in_one_go


def apart(function: Callable[..., Any]) -> Any:
    """Compile `function` like a kernel, but for other kernels, which call it by `call_at`.

    So a network compiles it only if it needs it. Its arguments are a pointer to elements, which
    gives the dtype, and integers.
    """
    return kernel(function, no_cpython_wrapper=True)


def address_of(function: Any, element: Any, count: int) -> int:
    """Return the address of a function `apart`, compiled for a dtype and `count` integers."""
    signature = types.CPointer(element), *[types.int64] * count
    function.compile(signature)
    compiled = function.overloads[signature]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)
    return address


@intrinsic
def call_at(typingctx: Any, address: Any, integers: Any) -> Any:
    """Call the function `apart` at `address` with a tuple of integers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integer, pointer = ir.IntType(64), ir.IntType(8).as_pointer()
        values = cgutils.unpack_tuple(builder, args[1])
        kind = ir.FunctionType(ir.VoidType(), [pointer, *[integer] * len(values)])
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, [ir.Constant(pointer, None), *values])
        return context.get_dummy_value()

    return types.void(types.intp, integers), codegen


def inner(function: Callable[..., Any]) -> Any:
    """Compile `function` as a part of the kernels that call it.

    The function gets neither a cache entry nor a Python wrapper, which halves its compile time.
    Python can call it only through a kernel, or where ``NUMBA_DISABLE_JIT`` is set.
    """
    return njit(**_PART)(function)


def specialised(function: Callable[..., Any]) -> Any:
    """Compile like `inner`, and inline the function at each of its calls.

    There its arguments may be constants, so that a loop contains one branch instead of several.
    """
    return njit(forceinline=True, **_PART)(function)


def inner_sums(function: Callable[..., Any]) -> Any:
    """Compile like `inner`, and allow the compiler to reorder additions; see ``sums``."""
    return njit(fastmath=FAST_MATH, **_PART)(function)


def spliced(function: Callable[..., Any]) -> Any:
    """Inline the source of `function` into the one kernel that calls it: it compiles only once."""
    return njit(inline="always", **_PART)(function)
