"""Feedback: what is kept of an answer, that nothing is lost when processes write at once or a file is damaged, and what is refused."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import feedback, storage
from workbench.datatypes import Answer, Completion, Passage, Span, Step, WorkbenchError
from workbench.feedback import MAX_ANSWER, MAX_COMMENT, MAX_LINE, MAX_PASSAGES, MAX_QUESTION, Feedback, append, give, read
from workbench.settings import Settings

SETTINGS = Settings(dataset="demo-ko", generator="extractive", seed=3)
PASSAGES = (Passage(Span("약관", 10, 30), "환불은 열흘 안에", "환불 약관"), Passage(Span("faq", 0, 5), "질문 답변"))
WRITER = """import sys
from pathlib import Path
from test_feedback import said
from workbench.feedback import append
for number in range(int(sys.argv[3])):
    append(Path(sys.argv[1]), said(f"{sys.argv[2]} {number} " + "가" * 3000))
"""


def answer(question: str = "환불은 언제 되나요?", text: str = "열흘 안에 [1]", passages: tuple[Passage, ...] = PASSAGES) -> Answer:
    return Answer("ask", question, text, passages=passages, steps=(Step("answer", (), Completion(text)),))


def said(comment: str, rating: str = "up") -> Feedback:
    return give(answer(), SETTINGS, "d" * 64, rating, comment)


def test_a_record_holds_what_an_evaluation_needs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "feedback.jsonl"
    append(path, said("기간이 틀렸어요\n둘째 줄\u2028셋째 줄 👎", "down"))
    records, damaged = read(path)
    assert damaged == []
    [record] = records
    assert (record.question, record.answer, record.rating) == ("환불은 언제 되나요?", "열흘 안에 [1]", "down")
    assert record.comment == "기간이 틀렸어요\n둘째 줄\u2028셋째 줄 👎"
    assert [each.model_dump() for each in record.passages] == [
        {"document": "약관", "start": 10, "end": 30},
        {"document": "faq", "start": 0, "end": 5},
    ]
    assert record.config_id == SETTINGS.config_id
    assert record.settings == storage.fingerprint(SETTINGS.model_dump()) != storage.fingerprint(SETTINGS.replace(seed=4).model_dump())
    assert record.data == "d" * 64
    raw = path.read_bytes()
    assert raw.count(b"\n") == 1
    assert "환불은".encode() in raw  # readable as it stands
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=40), st.sampled_from(["up", "down"])), max_size=5))
def test_any_text_comes_back_as_normalised(tmp_path_factory: pytest.TempPathFactory, comments: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("any") / "feedback.jsonl"
    given_ = [said(comment, rating) for comment, rating in comments]
    for record in given_:
        append(path, record)
    assert (read(path) if comments else ([], [])) == (given_, [])
    assert [record.rating for record in given_] == [rating for _, rating in comments]


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path, each = tmp_path / "feedback.jsonl", 25
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(each)], env=environment) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    records, damaged = read(path)
    assert damaged == []
    for name in "ab":
        order = [record.comment.split()[1] for record in records if record.comment[0] == name]
        assert order == [str(number) for number in range(each)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"time": "2026-01-01T00:00', "line 2: Invalid JSON"),
        (b"\xff\xfe\x00", "line 2: Invalid JSON"),
        (b"[1]", "line 2: Input should be an object"),
        (b"NaN", "line 2: Input should be an object"),
        (b"{}", "line 2: time: Field required; question: Field required"),
        ({"rating": "maybe"}, "line 2: rating: Input should be 'up' or 'down'"),
        ({"rating": 1}, "line 2: rating: Input should be 'up' or 'down'"),
        ({"question": ""}, "line 2: question: String should have at least 1 character"),
        ({"time": "yesterday"}, "line 2: time: String should match pattern"),
        ({"passages": [{"document": "d", "start": 5, "end": 5}]}, "line 2: passages.0: end 5 must be larger than start 5"),
        ({"passages": [{"document": "d", "start": -1, "end": 5}]}, "line 2: passages.0.start: Input should be greater than or equal to 0"),
        ({"comment": "x" * (MAX_COMMENT + 1)}, f"line 2: comment: String should have at most {MAX_COMMENT} characters"),
        (b"x" * (2 * MAX_LINE + 7), f"line 2: is longer than {MAX_LINE:,} bytes"),
    ],
)
def test_a_damaged_line_is_reported_and_stays(tmp_path: Path, line: bytes | dict, reason: str) -> None:
    path = tmp_path / "feedback.jsonl"
    append(path, said("first"))
    if isinstance(line, dict):
        line = json.dumps(json.loads(path.read_bytes()) | line).encode()
    with path.open("ab") as file:
        file.write(line)  # a crash, or an editor: no line end
    before = path.read_bytes()
    append(path, said("third"))
    records, damaged = read(path)
    assert [record.comment for record in records] == ["first", "third"]
    assert len(damaged) == 1
    assert damaged[0].startswith(reason)
    assert path.read_bytes().startswith(before)


def test_what_a_newer_version_adds_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    append(path, said("first"))
    record = json.loads(path.read_bytes()) | {"team": "support"}
    path.write_bytes(b"\n\r\n" + json.dumps(record).encode() + b"\r\n \n")
    assert [len(part) for part in read(path)] == [1, 0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rating": "5"}, "rating: Input should be 'up' or 'down'"),
        ({"comment": "가" * (MAX_COMMENT + 1)}, f"comment: String should have at most {MAX_COMMENT} characters"),
        ({"answer": answer(question="q" * (MAX_QUESTION + 1))}, f"question: String should have at most {MAX_QUESTION} characters"),
        ({"answer": answer(text="a" * (MAX_ANSWER + 1))}, f"answer: String should have at most {MAX_ANSWER} characters"),
        ({"answer": answer(passages=PASSAGES * MAX_PASSAGES)}, "passages: Tuple should have at most 1000 items"),
    ],
)
def test_sizes_and_ratings_that_are_refused(changes: dict, reason: str) -> None:
    arguments = {"answer": answer(), "settings": SETTINGS, "data": "", "rating": "up", "comment": "", **changes}
    with pytest.raises(WorkbenchError, match=f"^this feedback cannot be kept: {reason}"):
        give(**arguments)


def test_a_record_that_takes_too_many_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    places = [Span(letter * 1000, number, number + 1) for letter in "가👎" for number in range(MAX_PASSAGES)]  # 3 and 4 bytes a letter
    fits, does_not = (tuple(Passage(span, "x") for span in part) for part in (places[:MAX_PASSAGES], places[MAX_PASSAGES:]))
    append(path, give(answer(text="가" * MAX_ANSWER, passages=fits), SETTINGS, "", "up"))
    with pytest.raises(WorkbenchError, match=f"bytes, more than the {MAX_LINE:,} that are kept"):
        append(path, give(answer(passages=does_not), SETTINGS, "", "up"))
    assert [len(part) for part in read(path)] == [1, 0]


def test_no_secret_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    text = "my key is canary-0123456789, another sk-abcdefghijklmnop0123"
    record = give(answer(question=text, text=text), SETTINGS, "", "up", text)
    for kept in (record.question, record.answer, record.comment):
        assert kept == "my key is [OPENAI_API_KEY], another [secret]"


def test_files_that_cannot_be_used_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkbenchError, match=r"no such file: .*feedback\.jsonl"):
        read(tmp_path / "feedback.jsonl")
    with pytest.raises(WorkbenchError, match="cannot be read: Is a directory"):
        read(tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(WorkbenchError, match=r"cannot be written to .*: (File exists|Not a directory)"):
        append(tmp_path / "file" / "feedback.jsonl", said(""))
    monkeypatch.setattr(feedback, "WAIT", 0.05)
    with feedback._alone(tmp_path / "held.jsonl"), pytest.raises(WorkbenchError, match="database is locked"):
        append(tmp_path / "held.jsonl", said(""))


@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit on the size of files")
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that fills up in the middle of a record."""
    path = tmp_path / "feedback.jsonl"
    append(path, said("first"))
    before = path.read_bytes()
    code = f"""import resource, signal
from pathlib import Path
from test_feedback import said
from workbench.feedback import append
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 100}, {len(before) + 100}))
append(Path({str(path)!r}), said("second"))"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "WorkbenchError: the feedback cannot be written to" in done.stderr
    assert path.read_bytes() == before


def test_the_file_stands_below_the_outputs_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    assert feedback.feedback_file() == tmp_path.resolve() / "outputs" / "feedback" / "feedback.jsonl"
