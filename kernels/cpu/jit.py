"""Compiles kernels: the flags, what is compiled as part of what, and LLVM code for `back_end`."""

from __future__ import annotations

import gc
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba import from_dtype, njit, types
from numba.core import cgutils, codegen
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from fastnet.kernels.cpu.back_end import NAMES

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


def entry(function: Callable[..., Any]) -> Any:
    """Compile `function` for Python and for other kernels, which call its machine code.

    Its first argument is a pointer to elements, which gives the dtype; the others are integers.
    ``native`` keeps its machine code, loads it, and has it compiled only where a network needs it.
    """
    return njit(**_PART)(function)


@intrinsic
def call_at(typingctx: Any, address: Any, integers: Any) -> Any:
    """Call the entry whose code is at `address` with a tuple of integers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = cgutils.unpack_tuple(builder, args[1])
        kind = ir.FunctionType(_INT64, [_INT64] * len(values))
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.intp, integers), codegen


# --- LLVM code ---------------------------------------------------------------------------------

_INT64, _POINTER = ir.IntType(64), ir.IntType(8).as_pointer()


def front_end(function: Any, dtype: Any) -> bytes:
    """Return the LLVM code of an entry for a dtype, before optimisation, as bitcode.

    It has the two C functions ``back_end.NAMES``. The first takes integers and returns 0, or a code
    where a check failed that Numba was told to make. The second is a function for Python objects,
    of ``METH_FASTCALL``: it releases the GIL; ``self`` is the exception that a failure raises.

    Raises
    ------
    RuntimeError
        The code holds addresses of this process.
    """
    count = len(inspect.signature(function.py_func).parameters) - 1
    signature = types.CPointer(from_dtype(np.dtype(dtype))), *[types.int64] * count
    context = cpu_target.target_context
    with global_compiler_lock, _without_collections():
        function.compile(signature)
        compiled = function.overloads[signature]
        library = _PartLibrary(context.codegen(), function.__name__)
        module = library.create_ir_module(function.__name__)
        plain = _emit_plain(module, NAMES[0], context, compiled.fndesc)
        _emit_for_python(module, NAMES[1], plain, f"the kernel {function.__name__} failed")
        _emit_no_reference_counts(module)
        library.add_ir_module(module)
        library.add_linking_library(compiled.library)
        library.finalize()
        if library.has_dynamic_globals:
            raise RuntimeError(f"the code of {function.__name__} holds addresses of this process")
        bitcode: bytes = library._final_module.as_bitcode()
        return bitcode


@contextmanager
def _without_collections() -> Iterator[None]:
    """Keep the garbage collector off.

    A compilation makes millions of objects and keeps most of them. Collections took a tenth of its
    time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _emit_plain(module: Any, name: str, context: Any, described: Any) -> Any:
    """Emit the C function of integers that calls the compiled function of that description."""
    pointer, *integers = described.argtypes
    function = ir.Function(module, ir.FunctionType(_INT64, [_INT64] * len(integers)), name)
    builder = ir.IRBuilder(function.append_basic_block())
    kind = context.call_conv.get_function_type(described.restype, described.argtypes)
    callee = ir.Function(module, kind, described.llvm_func_name)
    any_pointer = cgutils.get_null_value(context.get_value_type(pointer))
    status, _ = context.call_conv.call_function(
        builder, callee, described.restype, described.argtypes, [any_pointer, *function.args]
    )
    code = builder.sext(status.code, _INT64)
    builder.ret(builder.select(status.is_error, code, _INT64(0)))
    return function


def _emit_for_python(module: Any, name: str, plain: Any, message: str) -> None:
    """Emit the function for Python objects around one of integers.

    It uses the stable ABI of CPython only, so the code does not depend on Python's version.
    """
    kind = ir.FunctionType(_POINTER, [_POINTER, _POINTER.as_pointer(), _INT64])
    function = ir.Function(module, kind, name)
    builder = ir.IRBuilder(function.append_basic_block())
    error, objects, given = function.args
    wanted = len(plain.args)

    def call(name: str, result: Any, *arguments: Any) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return builder.call(cgutils.get_or_insert_function(module, kind, name), arguments)

    def fail_if(condition: Any, message: str) -> None:
        with builder.if_then(condition, likely=False):
            if message:
                text = cgutils.global_constant(
                    builder, "message", cgutils.make_bytearray(message.encode() + b"\0")
                )
                call("PyErr_SetString", ir.VoidType(), error, builder.bitcast(text, _POINTER))
            builder.ret(_POINTER(None))

    fail_if(builder.icmp_signed("!=", given, _INT64(wanted)), f"{wanted} arguments are expected")
    places = [builder.gep(objects, [_INT64(index)]) for index in range(wanted)]
    integers = [call("PyLong_AsLongLong", _INT64, builder.load(place)) for place in places]
    fail_if(builder.icmp_unsigned("!=", call("PyErr_Occurred", _POINTER), _POINTER(None)), "")
    state = call("PyEval_SaveThread", _POINTER)
    status = builder.call(plain, integers)
    call("PyEval_RestoreThread", ir.VoidType(), state)
    fail_if(builder.icmp_signed("!=", status, _INT64(0)), message)
    builder.ret(call("PyLong_FromLongLong", _POINTER, status))


def _emit_no_reference_counts(module: Any) -> None:
    """Define what counts the references to an array as nothing: no array of a kernel has an owner.

    Kernels allocate none. Without this the code would refer to Numba's runtime, and a process that
    loads it would have to import that.
    """
    kind = ir.FunctionType(ir.VoidType(), [_POINTER])
    for name in ("NRT_incref", "NRT_decref"):
        function = ir.Function(module, kind, name)
        function.attributes.add("alwaysinline")
        ir.IRBuilder(function.append_basic_block()).ret_void()


SETTINGS: Final = (
    "OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "DISABLE_INTEL_SVML",
    "DEBUGINFO_DEFAULT", "EXTEND_VARIABLE_LIFETIMES", "LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS",
    "CPU_NAME", "CPU_FEATURES",
)  # fmt: skip
"""Settings of Numba that its code depends on."""


def has_own_settings() -> bool:
    """Return whether somebody gave `numba.config` values other than those of the environment.

    Code that was compiled with them is for this process only.
    """
    file = numba.core.config.__file__
    spec = importlib.util.spec_from_file_location("numba.core.config", file)
    assert spec is not None and spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return any(
        getattr(numba.core.config, name, None) != getattr(fresh, name, None) for name in SETTINGS
    )


# --- parts ----------------------------------------------------------------------------------------


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
