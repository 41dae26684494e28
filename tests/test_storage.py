"""Atomic writes, canonical JSON, the strict YAML loader, CSV cells and project paths."""

import csv
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import storage
from workbench.datatypes import WorkbenchError

NFC = unicodedata.normalize("NFC", "한국어 café")
NFD = unicodedata.normalize("NFD", NFC)
BIG = 8_000_000

WRITE_FOREVER = """
import itertools, sys
from pathlib import Path
from workbench.storage import write_bytes
for number in itertools.count():
    write_bytes(Path(sys.argv[1]), bytes([number % 256]) * int(sys.argv[2]))
    print("written", flush=True)
"""

WRITE_TO_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from workbench.storage import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
write_bytes(Path(sys.argv[1]), b"new" * 100_000)
"""


# --- atomic writes ---------------------------------------------------------------------------------------------------------------------


def assert_whole(path: Path) -> None:
    data = path.read_bytes()
    assert len(data) == BIG == data.count(data[:1])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_file_is_whole_after_a_kill_in_mid_write(tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    rng = random.Random(0)
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, path, str(BIG)], stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            kill_at = time.monotonic() + rng.uniform(0.005, 0.06)
            while time.monotonic() < kill_at:
                assert_whole(path)  # readers never see a half-written file either
            child.kill()
        assert_whole(path)
    assert list(tmp_path.glob(".big.bin.*.tmp")), "no kill hit a write, so this test showed nothing"


def test_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    path = tmp_path / "table.csv"
    storage.write_text(path, "old")
    child = subprocess.run([sys.executable, "-c", WRITE_TO_A_FULL_DISK, path], capture_output=True, text=True)
    assert child.returncode == 1
    assert "OSError: [Errno 27] File too large" in child.stderr
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_block_that_raises_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "result.json"
    storage.write_text(path, "old")
    with pytest.raises(error), storage.atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "보고서.txt"
    assert storage.write_text(path, "하나") == path
    storage.write_text(path, "둘")
    assert [file.read_bytes() for file in path.parent.iterdir()] == ["둘".encode()]


@pytest.mark.skipif(os.name == "nt", reason="no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_written_files_respect_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        path = storage.write_text(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


# --- JSON ------------------------------------------------------------------------------------------------------------------------------


def test_canonical_json_by_hand() -> None:
    value = {"b": 1.0, "a": [-0.0, 0.5, True, None, (1, 2)], "é": "e\u0301"}
    assert storage.canonical_json(value) == '{"a":[0,0.5,true,null,[1,2]],"b":1,"é":"é"}'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}),
        (0.0, -0.0),
        ([1], [1.0]),
        (NFC, NFD),
        ({NFC: 1}, {NFD: 1}),
        ((1, 2), [1, 2]),
        (1e300, int(1e300)),
        (np.float64(0.25), 0.25),
    ],
)
def test_equal_values_have_one_fingerprint(one: object, other: object) -> None:
    assert storage.fingerprint(one) == storage.fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (1, "1"), (0, False), (0, None), ("", None), ([1, 2], [2, 1]), (0.1, 0.1 + 1e-16), ("\ud800", "?")]
)
def test_different_values_have_different_fingerprints(one: object, other: object) -> None:
    assert storage.fingerprint(one) != storage.fingerprint(other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")], {"a": {"b": float("nan")}}])
def test_nan_and_infinity_are_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.canonical_json(value)
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(tmp_path / "x.json", value)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("value", [np.float32(1), np.int64(1), {1}, b"x", Path("x"), {"a": [np.bool_(True)]}])
def test_values_that_are_not_json_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        storage.canonical_json(value)


@pytest.mark.parametrize("value", [{NFC: 1, NFD: 2}, {"1": 1, 1: 2}])
def test_keys_with_one_spelling_are_refused_instead_of_dropped(value: dict) -> None:
    with pytest.raises(WorkbenchError, match="same spelling in JSON"):
        storage.canonical_json(value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab가"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab가", max_size=2), inner, max_size=3),
)


@given(JSON_VALUES)
def test_canonical_json_reads_back_as_the_same_value(value: object) -> None:
    assert json.loads(storage.canonical_json(value)) == value


def test_json_file_round_trip_and_errors(tmp_path: Path) -> None:
    path = storage.write_json(tmp_path / "결과.json", {"점수": 0.5, "a": [1, None]})
    assert storage.read_json(path) == {"점수": 0.5, "a": [1, None]}
    assert "점수" in path.read_text(encoding="utf-8")
    with pytest.raises(WorkbenchError, match=r"no such file: .*missing\.json"):
        storage.read_json(tmp_path / "missing.json")
    with pytest.raises(WorkbenchError, match="cannot be read: Is a directory"):
        storage.read_json(tmp_path)
    for broken in (b'{"a": ', b"", b"\xff\xfe", b"[" * 100_000):
        (tmp_path / "broken.json").write_bytes(broken)
        with pytest.raises(WorkbenchError, match=r"broken\.json is not valid JSON"):
            storage.read_json(tmp_path / "broken.json")


def test_sha256_file_by_hand(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert storage.sha256_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- YAML ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x", r"aliases \(\*name\) are refused.*line 2"),
        ("a: &x {b: *x}", "aliases"),
        ("a: 1\nb: 2\na: 3", "duplicate key 'a'.*line 3"),
        ("a: {b: [{c: 1, c: 2}]}", "duplicate key 'c'"),
        ("a: 1\n'a': 2", "duplicate key 'a'"),
        ("1: a\n0x1: b", "duplicate key 1"),
        ("yes: a\ntrue: b", "duplicate key True"),
        ("<<: {a: 1}\na: 2", "duplicate key 'a'"),
        ("<<: [{a: 1}, {a: 2}]", "duplicate key 'a'"),
        ("? [a, b]\n: c", "unhashable key"),
        ("[a, b]: c", "unhashable key"),
        ("? {a: 1}\n: c", "unhashable key"),
        ("[" * 21 + "]" * 21, "more than 20 levels"),
        ("{a: " * 21 + "1" + "}" * 21, "more than 20 levels"),
        ("[" * 300_000, "more than 20 levels"),
        ("a: 2024-13-45", "month must be in 1..12.*line 1"),
        ("a: 1\nb: " + "9" * 5000, "4300 digits.*line 2"),
        ("a: 0b_", "invalid literal for int"),
        ('a: "\\U00110000"', "chr"),
        ('a: "\\UFFFFFFFF"', "too large"),
        ("!!python/object/apply:os.system [id]", "tags .* are refused"),
        ("a: !!bool x", "tags .* are refused"),
        ("a: !custom 1", "tags .* are refused"),
        ("--- 1\n--- 2", "single document"),
        ("a: [1", "expected ',' or ']'"),
        ("a\0b", "special characters are not allowed"),
        ("x" * 1_000_001, "larger than 1000000 bytes"),
        ("가" * 333_334, "larger than 1000000 bytes"),
    ],
)
def test_bad_yaml_is_a_message_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(WorkbenchError, match=rf"(?s)params\.yaml.*{message}"):
        storage.read_yaml(tmp_path / "params.yaml")


def test_good_yaml(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("\ufeffdataset: 한국어 # note\nsizes: [64, 0.5]\nnested: {a: {b: null}}\n<<: {merged: yes}\n", encoding="utf-8")
    assert storage.read_yaml(path) == {"dataset": "한국어", "sizes": [64, 0.5], "nested": {"a": {"b": None}}, "merged": True}
    assert storage.parse_yaml("[" * 20 + "]" * 20, "x") is not None
    assert storage.parse_yaml("[" + "[1], " * 50 + "]", "x") == [[1]] * 50
    assert storage.parse_yaml("- {a: 1}\n- {a: 1}\n- {a: {a: 1}}", "x")[2] == {"a": {"a": 1}}  # one key in several mappings
    assert storage.parse_yaml("", "x") is None


def test_yaml_file_errors(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"no such file: .*missing\.yaml"):
        storage.read_yaml(tmp_path / "missing.yaml")
    with pytest.raises(WorkbenchError, match="cannot be read: Is a directory"):
        storage.read_yaml(tmp_path)
    (tmp_path / "cp949.yaml").write_bytes("이름: 값".encode("cp949"))
    with pytest.raises(WorkbenchError, match=r"cp949\.yaml is not UTF-8 text"):
        storage.read_yaml(tmp_path / "cp949.yaml")


# --- CSV -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_in9_formula_cells_are_text_in_rows_and_header(tmp_path: Path, start: str) -> None:
    formula = start + 'HYPERLINK("http://x","한글")'
    path = storage.write_csv(tmp_path / "t.csv", [formula], [{formula: formula}])
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [["'" + formula], ["'" + formula]]


@pytest.mark.parametrize("line_end", ["\r", "\n", "\r\n"])
def test_in9_a_line_end_inside_a_cell_starts_no_new_row(tmp_path: Path, line_end: str) -> None:
    path = storage.write_csv(tmp_path / "t.csv", ["a", "b"], [{"a": f"good{line_end}=1+1", "b": 1}])
    assert f'"good{line_end}=1+1",1'.encode() in path.read_bytes()


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        *[(-0.5, "-0.5"), (-3, "-3"), (0.1234567, "0.123457"), (float("nan"), ""), (None, ""), (True, "True"), ("a-b", "a-b"), ("", "")],
        *[(np.float64(-0.5), "-0.5"), (np.float32(-0.1), "-0.1"), (np.int64(-3), "-3"), (np.float32("nan"), ""), ("-0.5", "'-0.5")],
    ],
)
def test_numbers_stay_numbers(value: object, cell: str) -> None:
    assert storage.safe_cell(value) == cell


def test_csv_has_a_bom_and_empty_cells_for_missing_keys(tmp_path: Path) -> None:
    path = storage.write_csv(tmp_path / "t.csv", ["이름", "점수"], [{"이름": "가", "점수": -0.25, "other": 1}, {"이름": "나,다"}])
    assert path.read_bytes() == '\ufeff이름,점수\r\n가,-0.25\r\n"나,다",\r\n'.encode()


# --- paths -----------------------------------------------------------------------------------------------------------------------------


def test_home_is_the_variable_or_the_nearest_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_HOME", raising=False)
    monkeypatch.delenv("WORKBENCH_CACHE", raising=False)
    for name in ("project/notebooks/deep", "project/params", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    assert storage.home(tmp_path / "project" / "notebooks" / "deep") == tmp_path / "project"
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "elsewhere"))
    assert storage.home(tmp_path / "project") == storage.outputs().parent == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere" / "outputs").is_dir()
    assert storage.cache_file() == tmp_path / "elsewhere" / "outputs" / "cache" / "cache.sqlite"
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "c.sqlite"))
    assert storage.cache_file() == tmp_path / "c.sqlite"
