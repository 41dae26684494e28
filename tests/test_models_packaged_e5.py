"""Test the conversion of packaged E5 weights on a tiny file made here."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from workbench import models_packaged_e5
from workbench.datatypes import WorkbenchError

HIDDEN, INNER, VOCABULARY, POSITIONS = 32, 64, 10, 16
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "가", "나", "▁가", "～"]
HEADER = 44  # bytes before the tokenizer


def q4_0(rows: int, columns: int, scale: float = 0.5) -> bytes:
    """Pack blocks whose value at place j is (j mod 16 - 8) x scale."""
    nibbles = bytes(place | place << 4 for place in range(16))
    return (struct.pack("<e", scale) + nibbles) * (rows * columns // 32)


def tensors() -> dict[str, tuple[int, int, bytes]]:
    """List all tensors of a one-layer model: (kind, values, bytes)."""

    def vector(*dimensions: int) -> tuple[int, int, bytes]:
        count = int(np.prod(dimensions))
        return 0, count, (np.arange(count, dtype="<f4") / count).tobytes()

    found = {"emb.word": (1, VOCABULARY * HIDDEN, q4_0(VOCABULARY, HIDDEN))}
    found |= {"emb.pos": vector(POSITIONS, HIDDEN), "emb.type": vector(2, HIDDEN), "emb.ln.w": vector(HIDDEN), "emb.ln.b": vector(HIDDEN)}
    for short, (_, rows, columns) in models_packaged_e5.MATRICES.items():
        shape = [{"hidden": HIDDEN, "inner": INNER}[side] for side in (rows, columns)]
        found[f"l0.{short}.w"] = (1, shape[0] * shape[1], q4_0(*shape))
        found[f"l0.{short}.b"] = vector(shape[0])
    for short in models_packaged_e5.NORMS:
        found |= {f"l0.{short}.w": vector(HIDDEN), f"l0.{short}.b": vector(HIDDEN)}
    return found


def packed(parts: dict[str, tuple[int, int, bytes]], pieces: list[str] = PIECES, special: tuple[int, ...] = (0, 2, 1, 3)) -> bytes:
    """Write the whole file as the format says."""
    blob = [piece.encode() for piece in pieces]
    data = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, 1, 2, INNER, VOCABULARY, POSITIONS, 2, 1e-12, 32)
    data += struct.pack("<5iQ", len(pieces), *special, sum(map(len, blob)))
    data += np.cumsum([0, *map(len, blob)]).astype("<u4").tobytes() + np.full(len(pieces), -1, "<f4").tobytes() + b"".join(blob)
    data += struct.pack("<iI", 1, 9) + bytes(9)
    directory_size = 4 + sum(23 + len(name) for name in parts)
    offset, directory = len(data) + directory_size, struct.pack("<i", len(parts))
    for name, (kind, count, raw) in parts.items():
        directory += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", kind, count, offset, len(raw))
        offset += len(raw)
    return data + directory + b"".join(raw for _, _, raw in parts.values())


def convert(folder: Path, data: bytes) -> Path:
    source = folder / "tiny.bin"
    source.write_bytes(data)
    models_packaged_e5.convert(source, folder / "out")
    return folder / "out"


def test_dequantize_by_hand():
    raw = struct.pack("<e", 0.5) + bytes([0x0F, 0x80]) + bytes([0x88] * 14)
    values = models_packaged_e5.dequantize(raw)
    assert values[[0, 1, 2]].tolist() == [3.5, -4.0, 0.0]  # low nibbles 15, 0, 8: (15-8)/2, (0-8)/2, (8-8)/2
    assert values[[16, 17, 18]].tolist() == [-4.0, 0.0, 0.0]  # high nibbles 0, 8, 8


def test_convert_writes_every_tensor_under_its_bert_name(tmp_path):
    folder = convert(tmp_path, packed(tensors()))
    weights = load_file(folder / "model.safetensors")
    assert len(weights) == len(tensors())
    assert weights["embeddings.word_embeddings.weight"].shape == (VOCABULARY, HIDDEN)
    assert weights["encoder.layer.0.intermediate.dense.weight"].shape == (INNER, HIDDEN)
    assert weights["encoder.layer.0.output.dense.weight"].shape == (HIDDEN, INNER)
    assert weights["embeddings.word_embeddings.weight"][3, [0, 8, 15, 16]].tolist() == [-4.0, 0.0, 3.5, -4.0]
    assert weights["embeddings.position_embeddings.weight"][1, 0] == np.float32(HIDDEN / (POSITIONS * HIDDEN))
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (settings["layer_norm_eps"], settings["vocab_size"], settings["pad_token_id"]) == (1e-12, VOCABULARY, 1)
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))["prompts"]
    assert prompts == {"query": "query: ", "document": "passage: "}


def test_converted_tokenizer_cuts_and_normalises(tmp_path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(convert(tmp_path, packed(tensors())) / "tokenizer.json"))
    assert tokenizer.encode("가나").ids == [0, 7, 6, 2]
    assert tokenizer.encode("\u1100\u1161").ids == [0, 7, 2]  # conjoining jamo are composed
    assert tokenizer.encode("가～").ids == [0, 7, 8, 2]
    assert tokenizer.encode("x").ids == [0, 4, 3, 2]


def test_every_cut_off_file_is_refused(tmp_path):
    data = packed(tensors())
    for size in [*range(0, 1500, 7), *range(1500, len(data), 997), len(data) - 1]:
        with pytest.raises(WorkbenchError, match=r"tiny\.bin is not a usable E5S1 file"):
            convert(tmp_path, data[:size])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"GGUF", "does not start with E5S1"),
        (4, struct.pack("<I", 2), "version 2 is unknown"),
        (8, struct.pack("<i", -32), "hidden is -32, expected 1 to"),
        (8, struct.pack("<i", 33), "do not divide"),
        (12, struct.pack("<i", 2), "tensor l1.q.w is missing"),
        (24, struct.pack("<i", 2**31 - 1), "vocabulary is 2147483647"),
        (24, struct.pack("<i", 9), r"tensor emb.word is .*expected \(1, 288, 162\)"),
        (36, struct.pack("<f", float("nan")), "epsilon is nan"),
        (40, struct.pack("<i", 64), "blocks hold 64 values"),
        (HEADER, struct.pack("<i", 11), "11 pieces do not fit a vocabulary of 10"),
        (HEADER + 4, struct.pack("<i", 9), "special pieces .* must be four different numbers below 9"),
        (HEADER + 4, struct.pack("<i", 2), "must be four different numbers"),
        (HEADER + 20, struct.pack("<Q", 2**63), "the pieces needs"),
        (HEADER + 32, struct.pack("<I", 99), "piece offsets must grow"),
        (HEADER + 28 + 4 * 10, struct.pack("<f", float("inf")), "a piece score is not finite"),
        (HEADER + 28 + 4 * 19, b"\xff", "a piece is not UTF-8"),
    ],
)
def test_damaged_headers_are_refused(tmp_path, at, value, message):
    data = bytearray(packed(tensors()))
    data[at : at + len(value)] = value
    with pytest.raises(WorkbenchError, match=message):
        convert(tmp_path, bytes(data))


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("emb.ln.w", (0, HIDDEN, np.full(HIDDEN, np.nan, "<f4").tobytes()), "tensor emb.ln.w has values that are not finite"),
        ("emb.word", (1, VOCABULARY * HIDDEN, q4_0(VOCABULARY, HIDDEN, float("inf"))), "tensor emb.word has values that are not finite"),
        ("l0.q.w", (0, HIDDEN * HIDDEN, bytes(4 * HIDDEN * HIDDEN)), "tensor l0.q.w is"),
        ("l0.q.b", (0, HIDDEN, bytes(4)), r"tensor l0.q.b is \(kind, values, bytes\) \(0, 32, 4\), expected \(0, 32, 128\)"),
        ("emb.pos", None, "tensor emb.pos is missing"),
    ],
)
def test_damaged_tensors_are_refused(tmp_path, name, part, message):
    parts = tensors() | {name: part}
    with pytest.raises(WorkbenchError, match=message):
        convert(tmp_path, packed({key: value for key, value in parts.items() if value}))


def test_repeated_pieces_are_refused(tmp_path):
    with pytest.raises(WorkbenchError, match="a piece occurs twice"):
        convert(tmp_path, packed(tensors(), [*PIECES[:-1], "가"]))
