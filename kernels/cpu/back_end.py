"""From LLVM code to machine code, and from machine code to what Python can call: without Numba."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import llvmlite.binding as llvm

from fastnet.kernels.cpu import machine

NAMES: Final = ("fastnet_kernel", "fastnet_kernel_for_python")
"""The C functions that the code of a kernel has; see ``jit.front_end``."""

METH_FASTCALL: Final = 0x80


@dataclass(frozen=True)
class Kernel:
    """A kernel that is loaded, for one dtype.

    Attributes
    ----------
    call : callable
        Takes the kernel's integers and releases the GIL.
    address : int
        The C function of the same integers, for other machine code.
    """

    call: Callable[..., int]
    address: int


class MethodDefinition(ctypes.Structure):
    """CPython's ``PyMethodDef``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def optimised(bitcode: bytes) -> bytes:
    """Optimise the code of a kernel for the processor that `machine` describes."""
    module = llvm.parse_bitcode(bitcode)
    for function in module.functions:
        # What nobody else can call is inlined where it has one caller only.
        if not function.is_declaration and function.name not in NAMES:
            function.linkage = "internal"
    module.verify()
    # Level 3 and unrolled loops take a third more time here, and make no network faster: loops that
    # matter are unrolled by hand.
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization, options.slp_vectorization = True, False
    options.loop_unrolling = False
    passes = llvm.create_pass_builder(_this_machine(), options)
    passes.getModulePassManager().run(module, passes)
    code: bytes = module.as_bitcode()
    return code


def machine_code(bitcode: bytes) -> bytes:
    """Turn the code of a kernel, which is optimised, into this processor's.

    Returns
    -------
    bytes
        A line with the names that the code needs of a process, then an object file.
    """
    module = llvm.parse_bitcode(bitcode)
    outside = [
        value.name
        for values in (module.functions, module.global_variables)
        for value in values
        if value.is_declaration and not value.name.startswith("llvm.")
    ]
    code: bytes = _this_machine().emit_object(module)
    return " ".join(outside).encode() + b"\n" + code


def load(name: str, content: bytes) -> Kernel:
    """Load what `machine_code` returned.

    Raises
    ------
    ValueError
        This process has no function of a name that the code needs.
    """
    needed, _, code = content.partition(b"\n")
    for symbol in needed.decode().split():
        llvm.add_symbol(symbol, _address_of(symbol))
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address, for_python = map(engine.get_function_address, NAMES)
    definition = MethodDefinition(name.encode(), for_python, METH_FASTCALL, None)
    _for_ever.append((engine, definition))
    return Kernel(_make_callable(ctypes.addressof(definition), RuntimeError, None), address)


# A prototype of this module's own: `ctypes.pythonapi` has one function object for all who use it.
_make_callable: Final = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
)(("PyCFunction_NewEx", ctypes.pythonapi))

_for_ever: list[Any] = []
"""What callables point to: a kernel stays loaded as long as the process lives."""

# Addresses are written into the code of x86 when it is loaded.
_RELOCATIONS: Final = "static" if machine.IS_X86 else "default"


def _this_machine() -> Any:
    return _target(cpu=machine.NAME, features=machine.FEATURES, opt=2, reloc=_RELOCATIONS)


def _target(**options: Any) -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(codemodel="jitdefault", jit=True, **options)


def _address_of(symbol: str) -> int:
    """Return the address of a function of CPython or of the C library."""
    try:
        function = getattr(ctypes.pythonapi, symbol)
    except AttributeError:
        raise ValueError(f"this process has no function {symbol}") from None
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)
