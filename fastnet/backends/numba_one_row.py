"""One row answered by a method in machine code: no conversion, no dispatcher, no copies.

Python around the kernel takes several times as long as a small network (``fastnet bench``). So a
class gets, in place of its Python method, a method descriptor of compiled code. It finds the
network's `OneRow` in a slot of the instance. If the only argument is the usual one (an ndarray of
the network's dtype and length, one-dimensional, contiguous and aligned), it calls the kernel on
that array and on a new one. Everything else goes to the Python method, which converts or refuses.

The compiled method keeps the GIL, so all threads share one workspace, and an instance without an
`OneRow` always takes the Python method.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import struct
import sys
import sysconfig
from functools import cache
from types import FunctionType
from typing import Any, Final

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from fastnet.backends.aligned import aligned
from fastnet.backends.epochs import RowStep
from fastnet.kernels import abi
from fastnet.kernels.cpu.back_end import METH_FASTCALL, Kernel, MethodDefinition
from fastnet.kernels.cpu.interface import FRAME, TRAIN
from fastnet.nn.batch import Array
from fastnet.nn.plan import Plan

_INT, _LONG = ir.IntType(32), ir.IntType(64)

_HEADER: Final = object.__basicsize__  # a reference count and a type
_TYPE: Final = _HEADER - 8
_TABLE: Final = bytes.__basicsize__ - 1  # of an OneRow: what it holds as bytes
# An ndarray's fields behind the header, the same in every version of NumPy that there was.
_DATA, _AXES, _SHAPE, _DESCR, _FLAGS = (_HEADER + offset for offset in (0, 8, 16, 40, 48))
_BEHAVED: Final = 0x1 | 0x100  # C-contiguous and aligned

# Entries of NumPy's table of C functions, and the version of the table that has them there.
_VERSION, _NEW_FROM_DESCR = 0, 94
_NUMPY_2: Final = 0x2000000

_METH_KEYWORDS: Final = 0x2
_ENTRIES: Final = (
    "dtype", "inputs", "axes", "shape", "kernel", "ops", "count", "frame", "task",
)  # fmt: skip
"""What an `OneRow` holds, as int64."""


class OneRow(bytes):
    """What the compiled method needs of a network: addresses and sizes, as bytes.

    Attributes
    ----------
    kept : tuple
        What the addresses lead to.
    """

    kept: tuple[Any, ...]


def make_one_row(
    kernel: Kernel,
    inputs: int,
    shape: tuple[int, ...],
    task: int,
    network: tuple[Array, Array, Any],
) -> OneRow | None:
    """Return what a compiled method needs, or None where no such method can be.

    Parameters
    ----------
    kernel : Kernel
        ``run`` for the network's dtype.
    shape : tuple of int
        The shape of an answer.
    task : int
        The task of the kernel that answers a row.
    network : tuple
        The plan's records, the frame of one thread, and what the frame's addresses lead to, the
        parameters among it.
    """
    if not _can_be_made():
        return None
    ops, frame, arrays = network
    sizes, dtype = np.array(shape, np.int64), arrays["parameters"].dtype
    addresses = {
        "dtype": id(dtype),
        "inputs": inputs,
        "axes": len(shape),
        "shape": sizes.ctypes.data,
        "kernel": kernel.address,
        "ops": ops.ctypes.data,
        "count": len(ops),
        "frame": frame.ctypes.data,
        "task": task,
    }
    row = OneRow(struct.pack(f"={len(_ENTRIES)}q", *(addresses[name] for name in _ENTRIES)))
    row.kept = dtype, sizes, network
    return row


def frame_apart(
    frames: Array, kept: dict[str, Any], plan: Plan, rows: int
) -> tuple[Array, dict[str, Array]]:
    """Return a frame like the first one with a workspace of its own, and that workspace.

    It is for `rows` rows, and for gradients that come from outputs.
    """
    frame, like = frames[:1].copy(), kept["gradients"]
    counts = {"work": plan.width, "deltas": plan.width, "batch": plan.inputs}
    arrays = {name: aligned((count * rows,), like.dtype) for name, count in counts.items()}
    arrays |= {name: np.empty_like(kept[name]) for name in ("gradients", "batch_state")}
    arrays |= {name: np.empty_like(kept[name][0]) for name in ("room", "scratch")}
    arrays |= {name: kept[name] for name in ("parameters", "state", "strips")}
    for name, array in arrays.items():
        frame[name] = array.ctypes.data
    frame["capacity"], frame["threads"], frame["loss"] = rows, 1, abi.GRADIENT_OF_Y
    return frame, arrays


def online(kernel: Kernel, network: tuple[Any, ...], frames: Array, counts: Array) -> RowStep:
    """Return `Engine.online` for prepared frames, with their tally."""
    # A memory view reads and writes an element in a fraction of the time that an array takes.
    fields: Any = memoryview(frames[:1].view(np.int64).data)
    tally: Any = memoryview(counts.data)
    place = (FRAME.names or ()).index("coefficients")
    run, head = kernel.call, (*network, 0, TRAIN, 0, 1)

    def step(coefficients: int, number: int) -> float | None:
        fields[place] = coefficients
        tally[abi.LOSS_SUM] = tally[abi.SCORE_SUM] = tally[abi.WEIGHT_SUM] = 0.0
        tally[abi.STEPS] = 0.0
        run(*head, number, 1, 0)
        return tally[abi.LOSS_SUM] / tally[abi.WEIGHT_SUM] if tally[abi.STEPS] else None

    return step


def install(owner: type, method: FunctionType, slot: str) -> None:
    """Put a compiled method in the place of a Python method of a class, if it can be made.

    Parameters
    ----------
    owner : type
    method : function
        A method with one argument. One that somebody has put in its place stays there.
    slot : str
        The slot of the instances that may hold an `OneRow`.
    """
    if owner.__dict__.get(method.__name__) is method and _can_be_made():
        offset = _offset_of(owner, slot)
        if offset:
            address = _compile(method, offset)
            setattr(owner, method.__name__, _descriptor(owner, method, address))


def _offset_of(owner: type, slot: str) -> int:
    """Return where in an instance a slot is, or 0 if it is not found."""
    instance: Any = object.__new__(owner)
    mark = object()
    setattr(instance, slot, mark)
    words = _words(id(instance), owner.__basicsize__ // 8)
    return 8 * words.index(id(mark)) if id(mark) in words else 0


_for_ever: list[Any] = []
"""What compiled methods point to; a class lives as long as the process."""


def _descriptor(owner: type, method: FunctionType, address: int) -> Any:
    """Return a method descriptor with the name and the docstring of a Python method."""
    name, doc = method.__name__, inspect.getdoc(method)
    parameters = ", ".join(inspect.signature(method).parameters).replace("self", "$self", 1)
    signature = f"{name}({parameters})\n--\n\n"
    flags = METH_FASTCALL | _METH_KEYWORDS
    definition = MethodDefinition(name.encode(), address, flags, f"{signature}{doc}".encode())
    _for_ever.append((definition, method))
    make = ctypes.pythonapi.PyDescr_NewMethod
    make.restype, make.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.c_void_p]
    return make(owner, ctypes.addressof(definition))


def _compile(method: FunctionType, slot: int) -> int:
    """Return the address of a C function ``(self, arguments, count, keywords)`` for a method.

    It is compiled without Numba's passes, which would take longer than all the rest and gain a
    nanosecond.
    """
    module = ir.Module(method.__name__)
    kind = ir.FunctionType(_LONG, [_LONG] * 4)
    function = ir.Function(module, kind, f"fastnet_{method.__name__}")
    _emit(function, slot, method)
    machine = llvm.Target.from_default_triple().create_target_machine(opt=1)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    _for_ever.append(engine)
    return int(engine.get_function_address(function.name))


def _emit(function: Any, slot: int, method: FunctionType) -> None:
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    otherwise = function.append_basic_block("otherwise")
    instance, arguments, count, keywords = function.args

    def load(address: Any, offset: int = 0, kind: Any = _LONG) -> Any:
        place = builder.add(address, _LONG(offset))
        return builder.load(builder.inttoptr(place, kind.as_pointer()))

    def call(address: Any, arguments: list[Any], result: Any = _LONG) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return builder.call(builder.inttoptr(address, kind.as_pointer()), arguments)

    def require(value: Any, expected: Any) -> None:
        """Go on only with that value."""
        then = function.append_basic_block()
        builder.cbranch(builder.icmp_signed("==", value, expected), then, otherwise)
        builder.position_at_end(then)

    # Is there one argument, an OneRow, and is the argument the usual array?
    require(count, _LONG(1))
    require(keywords, _LONG(0))
    one = load(instance, slot)
    some = builder.select(builder.icmp_signed("==", one, _LONG(0)), instance, one)
    require(load(some, _TYPE), _LONG(id(OneRow)))
    entry = {name: load(one, _TABLE + 8 * index) for index, name in enumerate(_ENTRIES)}
    row = load(arguments)
    require(load(row, _TYPE), _LONG(id(np.ndarray)))
    require(load(row, _DESCR), entry["dtype"])
    require(load(row, _AXES, _INT), _INT(1))
    require(load(load(row, _SHAPE)), entry["inputs"])
    require(builder.and_(load(row, _FLAGS, _INT), _INT(_BEHAVED)), _INT(_BEHAVED))
    # A new array, which takes over a reference to its dtype, and the kernel.
    call(_LONG(_address("Py_IncRef")), [entry["dtype"]], ir.VoidType())
    axes, zero = builder.trunc(entry["axes"], _INT), _LONG(0)
    wanted = [
        _LONG(id(np.ndarray)),
        entry["dtype"],
        axes,
        entry["shape"],
        zero,
        zero,
        _INT(0),
        zero,
    ]
    out = call(_LONG(_numpy_function(_NEW_FROM_DESCR)), wanted)
    with builder.if_then(builder.icmp_signed("!=", out, zero), likely=True):
        numbers = [entry["ops"], entry["count"], entry["frame"], zero, entry["task"], zero]
        numbers += [_LONG(1), zero, load(row, _DATA), load(out, _DATA)]
        call(entry["kernel"], numbers)
    builder.ret(out)
    # Else the Python method, with everything as it came.
    builder.position_at_end(otherwise)
    some = builder.alloca(_LONG)
    builder.store(zero, some)
    with builder.if_then(builder.icmp_signed("!=", keywords, zero)):
        builder.store(load(keywords, _HEADER), some)  # the length of the tuple of their names
    values = builder.add(count, builder.load(some))
    room = builder.alloca(_LONG, builder.add(values, _LONG(1)))
    builder.store(instance, room)
    to = builder.ptrtoint(builder.gep(room, [_LONG(1)]), _LONG)
    move = _LONG(int(ctypes.cast(ctypes.memmove, ctypes.c_void_p).value or 0))
    call(move, [to, arguments, builder.mul(values, _LONG(8))])
    place = builder.ptrtoint(room, _LONG)
    whole = [_LONG(id(method)), place, builder.add(count, _LONG(1)), keywords]
    builder.ret(call(_LONG(_address("PyObject_Vectorcall")), whole))


# --- this process ---------------------------------------------------------------------------------


@cache
def _can_be_made() -> bool:
    """Return whether objects lie in memory as this module expects, looking at some that are known.

    It needs CPython with the GIL, and 64 bits.
    """
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if struct.calcsize("P") != 8 or sys.byteorder != "little" or _HEADER != 16:
        return False
    return _numpy_is_known() and _bytes_are_known() and _arrays_are_known()


def _words(address: int, count: int) -> tuple[int, ...]:
    """Return the int64 at an address."""
    return struct.unpack(f"={count}q", ctypes.string_at(address, 8 * count))


def _numpy_is_known() -> bool:
    """Return whether NumPy's table of C functions is of a known version."""
    try:
        get: Any = ctypes.CFUNCTYPE(ctypes.c_uint)(_numpy_function(_VERSION))
    except (AttributeError, ImportError, ValueError):
        return False
    return bool(get() == _NUMPY_2)


def _bytes_are_known() -> bool:
    text = OneRow(b"eight by")
    (word,) = struct.unpack("=q", text)
    return _words(id(text) + _TYPE, 1)[0] == id(OneRow) and _words(id(text) + _TABLE, 1)[0] == word


def _arrays_are_known() -> bool:
    a = np.zeros((7, 3), np.float32)[2:].reshape(-1)
    data, _, shape = _words(id(a) + _DATA, 3)
    descr, flags = _words(id(a) + _DESCR, 2)
    kind, axes = _words(id(a) + _TYPE, 1)[0], _words(id(a) + _AXES, 1)[0]
    fields = kind, data, axes & 0xFFFFFFFF, descr, flags & 0xFFFFFFFF
    known = id(np.ndarray), a.ctypes.data, 1, id(a.dtype), a.flags.num
    return fields == known and _words(shape, 1)[0] == 15 and a.flags.num & _BEHAVED == _BEHAVED


def _address(name: str) -> int:
    """Return the address of a C function of CPython."""
    return int(ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0)


def _numpy_function(index: int) -> int:
    """Return the address of a C function of NumPy, from the table for extension modules."""
    module = importlib.import_module("numpy._core._multiarray_umath")
    get: Any = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = get(module._ARRAY_API, None)
    return int(ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))[index] or 0)
