"""Read and run ONNX graphs: the number format of their weights, checks before anything runs, one text at a time.

The graph is read as the protocol buffer that onnx.proto (opset 1 to now) describes; only what tells the weights is looked at.
"""

from __future__ import annotations

import mmap
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.datatypes import WorkbenchError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Encoding, Tokenizer

Buffer = bytes | mmap.mmap
MESSAGES: Mapping[str, Mapping[int, str]] = {  # field numbers of the messages in which tensors are
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
DIMENSIONS, DATA_TYPE, DATA_LOCATION, EXTERNAL = 1, 2, 14, 1
FORMATS = {1: ("fp32", 32), 2: ("uint8", 8), 3: ("int8", 8), 6: ("int32", 32), 7: ("int64", 64), 10: ("fp16", 16), 11: ("fp64", 64)}
FORMATS |= {16: ("bf16", 16), 21: ("uint4", 4), 22: ("int4", 4)}  # name, bits of a value
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_DEPTH = 64  # graphs within graphs
QUIET = 4  # onnxruntime writes nothing but fatal errors: what matters raises
INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}  # with the names in tokenizers


def find_graph(name: str, folder: Path) -> Path | None:
    """Return the graph of a model folder: its only .onnx file, or the one called model.onnx; None when there is none."""
    found = sorted([*folder.glob("*.onnx"), *folder.glob("*/*.onnx")], key=lambda path: (path.parent != folder, path.name))
    named = [path for path in found if path.name == "model.onnx"] or found
    if len(named) > 1 and named[0].name != "model.onnx":
        listed = ", ".join(path.relative_to(folder).as_posix() for path in found)
        raise WorkbenchError(f"model {name} has several .onnx files ({listed}); call the one to run model.onnx")
    return named[0] if named else None


def precision(path: Path) -> str:
    """Return the number format that holds most of a graph's weights.

    Raise WorkbenchError for a file that is no ONNX graph or cut off, and for weights in other files: those could be anywhere on the disk,
    and nothing would notice when they change.
    """
    bits: Counter[str] = Counter()
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for kind, count, external in _tensors(data, 0, len(data), "model", 0):
                if external:
                    raise WorkbenchError(f"{path} keeps weights in other files, which is refused; save the model as one .onnx file")
                name, size = FORMATS.get(kind, (f"type {kind}", 8))
                bits[name] += count * size
    except ValueError as error:  # mmap refuses an empty file so, too
        raise WorkbenchError(f"{path} is not an ONNX file, or cut off: {error}") from None
    if not bits:
        raise WorkbenchError(f"{path} is not an ONNX file with weights in it")
    return max(bits, key=bits.__getitem__)


def _tensors(data: Buffer, at: int, end: int, message: str, depth: int) -> Iterator[tuple[int, int, bool]]:
    """Give the type, the number of values and "is in another file" of every tensor within a message."""
    if depth > MAX_DEPTH:
        raise ValueError("graphs are nested too deeply")
    for number, wire, start, stop in _fields(data, at, end):
        inner = MESSAGES[message].get(number)
        if inner is None:
            continue
        if wire != BYTES:
            raise ValueError(f"field {number} of a {message} at byte {start} is no message")
        if inner == "tensor":
            yield _tensor(data, start, stop)
        else:
            yield from _tensors(data, start, stop, inner, depth + 1)


def _tensor(data: Buffer, at: int, end: int) -> tuple[int, int, bool]:
    kind, values, external = 0, 1, False
    for number, wire, start, stop in _fields(data, at, end):
        if number == DIMENSIONS:
            while start < stop:  # one number, or several packed into one field
                size, start = _varint(data, start, stop)
                values *= size
        elif number in (DATA_TYPE, DATA_LOCATION) and wire == VARINT:
            value, _ = _varint(data, start, stop)
            kind, external = (value, external) if number == DATA_TYPE else (kind, value == EXTERNAL)
    return kind, values, external


def _fields(data: Buffer, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Give the number, wire type, start and end of each field of a message; raise ValueError where it is none."""
    while at < end:
        key, start = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            _, stop = _varint(data, start, end)
        elif wire == BYTES:
            length, start = _varint(data, start, end)
            stop = start + length
        elif wire in (FIXED32, FIXED64):
            stop = start + (4 if wire == FIXED32 else 8)
        else:
            raise ValueError(f"unknown field at byte {at}")
        if not number or stop > end:
            raise ValueError(f"the field at byte {at} ends outside of the file")
        yield number, wire, start, stop
        at = stop


def _varint(data: Buffer, at: int, end: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte, low ones first; return it and where the next thing starts."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(f"a number at byte {at} does not end")


def load_tokenizer(name: str, folder: Path, max_length: int | None = None, strategy: str = "longest_first") -> Tokenizer:
    """Load the tokenizer of a model folder; it cuts texts to `max_length` tokens by a strategy of `tokenizers`, and never pads.

    What its file says about both is ignored.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise WorkbenchError(f"the model {name!r} has no tokenizer.json; save it again with a fast tokenizer")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if max_length:
        tokenizer.enable_truncation(max_length, strategy=strategy)
    return tokenizer


class Graph:
    """Run one text or pair at a time through an ONNX graph on the processor, unpadded, on OMP_NUM_THREADS threads where that is set.

    What is run together shares nothing, then: graphs that were quantised dynamically scale activations by the largest of a whole batch, so
    padding and neighbours would change a text's numbers (cosine 0.98 to 0.999 to the same text alone). Long texts are faster so, too.
    """

    def __init__(self, name: str, path: Path) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        self.name = name
        self._errors = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf)
        self._errors += (state.NotImplemented, state.RuntimeException, state.NoSuchFile)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = threads()
        try:
            self._session: InferenceSession = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except self._errors as error:
            raise WorkbenchError(f"onnxruntime cannot load {path}: {first_line(error)}") from None
        self._inputs = [item.name for item in self._session.get_inputs()]
        if unknown := sorted(set(self._inputs) - INPUTS.keys()):
            raise WorkbenchError(f"model {name} asks for the input {unknown[0]}; known are {', '.join(INPUTS)}")
        self.outputs = {item.name: len(item.shape) for item in self._session.get_outputs()}  # dimensions, the batch included

    def run(self, encoding: Encoding, output: str) -> np.ndarray:
        """Return one output for one encoded text, without the batch dimension."""
        feed: dict[str, Any] = {name: np.array([getattr(encoding, INPUTS[name])], np.int64) for name in self._inputs}
        try:
            return self._session.run([output], feed)[0][0]
        except self._errors as error:
            raise WorkbenchError(f"model {self.name} failed on a text of {len(encoding.ids)} tokens: {first_line(error)}") from None


def threads() -> int:
    """Return OMP_NUM_THREADS, 0 where it is not set."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list is for nested loops
    if wanted and (not wanted.isascii() or not wanted.isdigit() or not int(wanted)):
        raise WorkbenchError(f"OMP_NUM_THREADS is {wanted!r}; it must be a whole number of at least 1")
    return int(wanted or 0)


def first_line(error: Exception) -> str:
    """Return the first line of what a library says, else the name of its error."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
