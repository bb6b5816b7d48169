"""What a pickle written by ``torch.save`` describes, without building any of it.

``torch.load(weights_only=True)`` runs no code, but it allocates what a pickle asks for and hashes the keys that it
names. So the pickle is read as a list of opcodes first, which gives containers, names and tensors as plain
descriptions: what does not look like something that ``torch.save`` writes, or is too long, is refused before torch
reads the file.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import torch

MAX_PICKLE_BYTES = 8 << 20  # of a pickle; that of a training checkpoint with ViT-H has 0.4 MB
MAX_OPCODES = 2_000_000  # nnU-Net logs the Dice of each class and epoch: 117 classes and 1000 epochs take 1.6 million

_STORAGE_DTYPES: dict[str, torch.dtype] = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.ComplexFloatStorage": torch.complex64,
    "torch.ComplexDoubleStorage": torch.complex128,
    "torch.QInt8Storage": torch.qint8,
    "torch.QUInt8Storage": torch.quint8,
    "torch.QInt32Storage": torch.qint32,
    "torch.QUInt4x2Storage": torch.quint4x2,
    "torch.QUInt2x4Storage": torch.quint2x4,
    "torch.UntypedStorage": torch.uint8,
    "torch.storage.UntypedStorage": torch.uint8,
}
_REBUILD = "torch._utils._rebuild_"
_PLAIN = ("tensor", "tensor_v2", "tensor_v3")


class OutlineError(ValueError):
    """A pickle that ``torch.save`` does not write."""


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle refers to; it is not imported."""

    full: str


@dataclass(frozen=True)
class Storage:
    """Where the elements of tensors lie: ``key`` in the archive, ``bytes`` long."""

    key: str
    bytes: int


@dataclass(frozen=True)
class TensorOutline:
    """A tensor as described.

    Attributes:
        kind: ``strided``, or what else it is (``sparse``, ``quantised``, …).
        storage: None unless strided.
        itemsize: of an element, bytes.
        offset: elements before the first one.
        size, stride: in elements.
    """

    kind: str
    storage: Storage | None = None
    itemsize: int = 1
    offset: int = 0
    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()

    @property
    def numel(self) -> int:
        """Number of elements."""
        count = 1
        for extent in self.size:
            count *= extent
        return count

    def fault(self) -> str | None:
        """Why this is no dense tensor within its storage, or None."""
        if self.kind != "strided" or self.storage is None:
            return f"a {self.kind} tensor"
        numbers = (self.offset, *self.size, *self.stride)
        if len(self.size) != len(self.stride) or any(number < 0 for number in numbers):
            return f"a tensor of size {self.size} with strides {self.stride}"
        last = self.offset + sum((extent - 1) * step for extent, step in zip(self.size, self.stride, strict=True))
        if self.numel and max(last + 1, self.numel) * self.itemsize > self.storage.bytes:
            return f"a tensor of size {self.size} and strides {self.stride} over {self.storage.bytes} bytes"
        return None


@dataclass
class Outline:
    """The object that a pickle describes, all its tensors and all its storages by key."""

    root: Any
    tensors: list[TensorOutline]
    storages: dict[str, Storage]


def outline_pickle(stream: BytesIO) -> Outline:
    """Read one pickle from ``stream``, which ends up behind it.

    Raises:
        OutlineError: it is longer than torch.save's, damaged, or does what torch.save's do not.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_OPCODES:
                raise OutlineError(f"more than {MAX_OPCODES} opcodes")
            machine.step(opcode.name, argument)
    except OutlineError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise OutlineError(f"damaged: {error}") from error
    if len(machine.stack) != 1:
        raise OutlineError("damaged: it does not end with one object")
    return Outline(machine.stack[0], machine.tensors, machine.storages)


class _Machine:
    """The stack machine of pickles, for the opcodes that torch's restricted unpickler knows."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.tensors: list[TensorOutline] = []
        self.storages: dict[str, Storage] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "GLOBAL":
            self.stack.append(Name(argument.replace(" ", ".", 1)))
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in _ACTIONS:
            _ACTIONS[name](self)
        elif name not in ("PROTO", "STOP"):
            raise OutlineError(f"opcode {name}, which torch.save does not write")

    def pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise OutlineError("damaged: stack underflow")
        popped = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return popped

    def pop_to_mark(self) -> list[Any]:
        return self.pop(len(self.stack) - self.marks.pop())

    def make_tuple(self, items: list[Any]) -> None:
        self.stack.append(tuple(items))

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not _is_plain_key(key):
                raise OutlineError("a dict whose keys are no names or numbers")
            if isinstance(target, dict):
                target[key] = value

    def append(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def load_storage(self) -> None:
        (identity,) = self.pop(1)
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            self.stack.append(Name("persistent object"))
            return
        _, kind, key, _, numel = identity[:5]
        if not isinstance(kind, Name) or kind.full not in _STORAGE_DTYPES or not isinstance(numel, int) or numel < 0:
            raise OutlineError(f"a storage of unknown kind ({getattr(kind, 'full', kind)!s:.80}, {numel!s:.80})")
        storage = Storage(str(key), numel * _STORAGE_DTYPES[kind.full].itemsize)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise OutlineError(f"two sizes for the storage {key!s:.80}")
        self.stack.append((storage, kind.full))

    def call(self) -> None:
        function, arguments = self.pop(2)
        self.stack.append(self.result_of(function, arguments))

    def result_of(self, function: Any, arguments: Any) -> Any:
        name = function.full if isinstance(function, Name) else "?"
        arguments = arguments if isinstance(arguments, tuple) else ()
        if name == "collections.OrderedDict" and not arguments:
            return {}
        if name == "torch._tensor._rebuild_from_type_v2" and len(arguments) > 2:
            return self.result_of(arguments[0], arguments[2])
        if name.startswith(_REBUILD + "parameter") and arguments and isinstance(arguments[0], TensorOutline):
            return arguments[0]
        if name.startswith(_REBUILD):
            self.tensors.append(_tensor(name.removeprefix(_REBUILD), arguments))
            return self.tensors[-1]
        _refuse_allocation(name, arguments)
        return Name(name)

    def new_object(self) -> None:
        kind, arguments = self.pop(2)
        name = kind.full if isinstance(kind, Name) else "?"
        _refuse_allocation(name, arguments)
        self.stack.append(Name(name))

    def build(self) -> None:
        self.pop(1)  # attributes, such as the _metadata of a state dict
        if isinstance(self.stack[-1], TensorOutline):
            raise OutlineError("a tensor that is changed after it is built")


_LITERALS = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINSTRING"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: Name("builtins.set"),
}
_ACTIONS: dict[str, Callable[[_Machine], None]] = {
    "TUPLE": lambda machine: machine.make_tuple(machine.pop_to_mark()),
    "TUPLE1": lambda machine: machine.make_tuple(machine.pop(1)),
    "TUPLE2": lambda machine: machine.make_tuple(machine.pop(2)),
    "TUPLE3": lambda machine: machine.make_tuple(machine.pop(3)),
    "SETITEM": lambda machine: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine: machine.set_items(machine.pop_to_mark()),
    "APPEND": lambda machine: machine.append(machine.pop(1)),
    "APPENDS": lambda machine: machine.append(machine.pop_to_mark()),
    "BINPERSID": _Machine.load_storage,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new_object,
    "BUILD": _Machine.build,
}


def _tensor(kind: str, arguments: tuple[Any, ...]) -> TensorOutline:
    if kind not in _PLAIN:
        words = {"qtensor": "quantised", "meta_tensor_no_storage": "meta"}
        return TensorOutline(words.get(kind, kind.removesuffix("_tensor").replace("_", " ")))
    (storage, storage_kind), offset, size, stride = arguments[:4]
    dtype = _STORAGE_DTYPES[storage_kind]
    if kind == "tensor_v3":  # an untyped storage, and the type by name
        named = getattr(torch, arguments[6].full.removeprefix("torch."), None)
        if not isinstance(named, torch.dtype):
            raise OutlineError(f"a tensor of unknown type ({arguments[6].full:.80})")
        dtype = named
    numbers = (offset, *size, *stride)
    if max(len(size), len(stride)) > 64 or not all(isinstance(n, int) and abs(n) < 1 << 63 for n in numbers):
        raise OutlineError("a tensor whose size is no tuple of at most 64 integers")
    return TensorOutline("strided", storage, dtype.itemsize, offset, size, stride)


def _is_plain_key(key: Any) -> bool:
    """Whether a key is hashed at once: the hash of tuples that share tuples takes for ever."""
    if isinstance(key, tuple):
        return not any(isinstance(part, tuple) for part in key)
    return True


def _refuse_allocation(name: str, arguments: Any) -> None:
    """Refuse calls that torch allows and that allocate or hash as much as they are asked to."""
    if name.startswith("torch.") and name.endswith(("Tensor", "Storage", "Parameter")):
        raise OutlineError(f"a call of {name}, which torch.save does not write")
    first = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if name == "builtins.bytearray" and isinstance(first, int):
        raise OutlineError("a call of bytearray with a size, which torch.save does not write")
    hashes = name in ("builtins.set", "collections.Counter", "collections.OrderedDict")
    if hashes and not (isinstance(first, (list, dict, type(None))) and all(map(_is_plain_key, first or ()))):
        raise OutlineError(f"a call of {name} with keys that are no names or numbers")
