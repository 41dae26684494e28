"""What one process computes, another waits for: exactly once with two at work, never stuck behind one that is dead, stopped or failing."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from claims_worker import BATCH, BLOCK, Slow, conversation, values

from workbench import cache_claims, cache_generation
from workbench.cache import Cache, CachedEmbedder
from workbench.cache_claims import claimed, take
from workbench.cache_generation import CachedGenerator
from workbench.datatypes import Completion, Conversation
from workbench.storage_process import own_identity

WORKER = Path(__file__).with_name("claims_worker.py")
TEXTS = [f"{chr(0xAC00 + 28 * number)} text {'x' * number}" for number in range(30)]
KINDS = ("embed", "score", "complete")
needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite"


def start(kinds: str, path: Path, texts: Sequence[str], seconds: float = 0, lease: float = 60, log: str = "log") -> subprocess.Popen:
    command = [sys.executable, str(WORKER), kinds, str(path), str(path.with_name(log)), str(seconds), str(lease), *texts]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def go(*processes: subprocess.Popen) -> None:
    """Let them begin together."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def finish(process: subprocess.Popen) -> dict[str, Any]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads(output)


def asked(path: Path, log: str = "log") -> list[str]:
    file = path.with_name(log)
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def plain(kinds: str, path: Path, texts: Sequence[str]) -> dict[str, list]:
    store = Cache(path.with_name("plain.sqlite"))
    return {kind: values(kind, Slow(path.with_name("plain"), 0), store, texts) for kind in kinds.split(",")}


def claims(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        count = connection.execute("SELECT COUNT(*) FROM claims").fetchone()[0]
    connection.close()
    return count


def claim_as(path: Path, keys: Sequence[str], owner: Any, until: Any) -> None:
    Cache(path).close()
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO claims VALUES (?, ?, ?)", [(key, owner, until) for key in keys])
    connection.close()


def computed(path: Path, keys: Sequence[str]) -> list[list[str]]:
    """Compute the keys through the claims and return the blocks."""
    store, done = Cache(path), []
    with claimed(store, {key: key for key in keys}, 4) as blocks:
        for _, block in blocks:
            done.append([key for key, _ in block])
            store.put("vector", "x", [(key, item.encode()) for key, item in block])
    return done


# --- two processes ---------------------------------------------------------------------------------------------------------------------


def test_two_processes_with_overlapping_texts_in_other_orders_compute_each_once(path: Path) -> None:
    kinds, lists = ",".join(KINDS), (TEXTS[:24], TEXTS[:5:-1])
    processes = [start(kinds, path, texts, 0.01) for texts in lists]
    go(*processes)
    found = [finish(process) for process in processes]
    assert Counter(asked(path)) == Counter(f"{kind} {text}" for kind in KINDS for text in TEXTS)
    assert [report["values"] for report in found] == [plain(kinds, path, texts) for texts in lists]
    assert [report["own"] + report["hits"] for report in found] == [72, 72]
    assert sum(report["own"] for report in found) == 90
    assert min(report["own"] for report in found) > 18  # both work on what both need
    assert claims(path) == 0


def test_many_at_once_compute_each_key_once(path: Path) -> None:
    keys = [str(number) for number in range(150)]
    orders = [random.Random(seed).sample(keys, len(keys)) for seed in range(5)]
    with ThreadPoolExecutor(5) as pool:
        blocks = list(pool.map(lambda order: computed(path, order), orders))
    assert sorted(key for own in blocks for block in own for key in block) == sorted(keys)


@needs_signals
@pytest.mark.parametrize(("kind", "in_work"), [("embed", BLOCK), ("complete", BATCH)])
def test_one_of_two_is_killed_and_the_other_finishes_everything(kind: str, in_work: int, path: Path) -> None:
    doomed, other = start(kind, path, TEXTS, 1000, log="doomed"), start(kind, path, TEXTS)
    go(doomed)
    wait_for(lambda: len(asked(path, "doomed")) == in_work)
    go(other)
    wait_for(lambda: len(asked(path)) == 30 - BLOCK)
    time.sleep(0.1)
    assert len(asked(path)) == 30 - BLOCK  # all but what is claimed
    doomed.kill()  # and not collected: a zombie is no living owner
    assert finish(other)["values"] == plain(kind, path, TEXTS)
    doomed.communicate()
    assert Counter(asked(path)) == Counter(f"{kind} {text}" for text in TEXTS)


@needs_signals
def test_d10_a_killed_run_repeats_no_finished_answer(path: Path) -> None:
    for count in (1, 9, 15):
        process = start("complete", path, TEXTS, 0.05)
        go(process)
        wait_for(lambda count=count: len(asked(path)) >= count)
        process.kill()
        process.communicate()
        kept = sum(row["rows"] for row in Cache(path).stats())
        assert kept >= len(set(asked(path))) - BATCH  # what is finished is there, though its block is not
    process = start("complete", path, TEXTS)
    go(process)
    assert finish(process)["values"] == plain("complete", path, TEXTS)
    assert set(asked(path)) == {f"complete {text}" for text in TEXTS}
    assert len(asked(path)) <= 30 + 3 * BATCH  # those in work at the three kills


@needs_signals
def test_a_stopped_owner_is_not_waited_for_longer_than_its_claim_holds(path: Path) -> None:
    stopped, other = start("embed", path, TEXTS[:4], 0.25, 1, log="stopped"), start("embed", path, TEXTS[:5], 0, 1)
    go(stopped)
    wait_for(lambda: asked(path, "stopped"))
    stopped.send_signal(signal.SIGSTOP)
    try:
        go(other)
        assert finish(other)["own"] == 5
    finally:
        stopped.send_signal(signal.SIGCONT)
    assert finish(stopped)["values"] == plain("embed", path, TEXTS[:4])
    assert claims(path) == 0


# --- owners ----------------------------------------------------------------------------------------------------------------------------


def test_a_claim_lasts_as_long_as_its_owner_works(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_claims, "CLAIM_SECONDS", 0.4)
    parts = [Slow(path.with_name("log"), 1.2) for _ in range(2)]
    threads = [threading.Thread(target=lambda part=part: CachedEmbedder(part, Cache(path)).encode(["long"], "query")) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked(path) == ["embed long"]


HERE = own_identity()
HOST, PID, START, TOKEN = HERE.split(" ", 3)
GONE = [
    (f"{HOST} {PID} {float(START) - 60:.2f} {TOKEN}", 50.0),  # another process had the number before
    (HERE, -1e9),
    (HERE, 1e6),  # a clock was set, or a row is damaged
    (HERE, b"\xff"),
    (f"{HOST} 999999999 {START} {TOKEN}", 50.0),
    (f"{HOST} 0 {START} {TOKEN}", 50.0),
    (f"{HOST} -1 {START} {TOKEN}", 50.0),
    ("x", 50.0),
    (b"\xff", 50.0),
]


@pytest.mark.parametrize(("owner", "left"), GONE, ids=range(len(GONE)))
def test_the_claims_of_who_is_gone_are_taken_over_at_once_and_forgotten(owner: Any, left: Any, path: Path) -> None:
    claim_as(path, ["b", "c", "z"], owner, time.time() + left if isinstance(left, float) else left)
    began = time.monotonic()
    assert computed(path, "abcdef") == [["a", "b", "c", "d"], ["e", "f"]]
    assert time.monotonic() - began < 5
    assert claims(path) == 0


OTHERS = {
    "a living process": HERE,
    "another machine": f"elsewhere 1 {START} {TOKEN}",
    "a container of the same name": f"{HOST} 999999999 {START} 7 {'0' * 16}",
}


@pytest.mark.parametrize("owner", OTHERS.values(), ids=OTHERS)
def test_what_others_claim_comes_last_and_only_after_their_claim(owner: str, path: Path) -> None:
    claim_as(path, ["b", "c"], owner, time.time() + 0.6)
    began = time.monotonic()
    blocks = computed(path, "abcdef")
    assert blocks[-1] == ["b", "c"]
    assert sorted(key for block in blocks[:-1] for key in block) == ["a", "d", "e", "f"]
    assert time.monotonic() - began > 0.5


def test_where_others_work_on_the_same_list_the_rest_is_shared(path: Path) -> None:
    keys = {str(number): None for number in range(100)}
    claim_as(path, ["0", "1"], HERE, time.time() + 50)
    with sqlite3.connect(path) as connection:
        assert take(connection, "mine", keys, 32) == [str(number) for number in range(2, 34)]
        assert take(connection, "mine", dict(list(keys.items())[:40]), 32) == [str(number) for number in range(2, 21)]  # half of 38
        assert take(connection, "mine", dict(list(keys.items())[:7]), 32) == ["2", "3", "4", "5"]  # an eighth of a block at least
        assert take(connection, "mine", {"0": None, "1": None}, 32) == []
        assert len(take(connection, "other", keys, 32)) == 32  # one's own claims are in nobody's way
    connection.close()


# --- what claims nothing, what gives claims back ----------------------------------------------------------------------------------------


def test_a_cached_run_writes_nothing_and_so_does_sampling(path: Path) -> None:
    store = Cache(path)
    for kind in KINDS:
        values(kind, Slow(path.with_name("log"), 0), store, TEXTS)
    watch = sqlite3.connect(path)
    version = watch.execute("PRAGMA data_version").fetchone()
    for kind in KINDS:
        values(kind, Slow(path.with_name("log"), 0), store, TEXTS)
    sampling = Slow(path.with_name("log"), 0)
    sampling.fingerprint = {"name": "slow", "sampled": True}
    values("complete", sampling, store, TEXTS)
    assert watch.execute("PRAGMA data_version").fetchone() == version
    watch.close()


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_gives_the_claims_back_and_each_gets_its_own(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Slow(path.with_name("log"), 0)
    monkeypatch.setattr(part, "note", lambda kind, texts: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError) as caught:  # the traceback is kept, as a notebook keeps it
            values(kind, part, Cache(path), TEXTS)
        assert claims(path) == 0
        assert caught.value
    assert "cache claim" not in [thread.name for thread in threading.enumerate()]
    assert {kind: values(kind, Slow(path.with_name("log"), 0), Cache(path), TEXTS)} == plain(kind, path, TEXTS)


def test_failures_of_a_small_block_do_not_stand_for_what_others_work_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Slow):
        def generate(self, conversations: Sequence[Conversation], done: Any = None) -> list[Completion]:
            return [Completion("", "error", error="too long") for _ in conversations]

    monkeypatch.setattr(cache_generation, "GENERATED_AT_ONCE", 8)
    failing = CachedGenerator(Failing(path, 0), Cache(path))
    conversations = [conversation(text) for text in TEXTS[:3]]
    claim_as(path, [failing._key(conversations[0])], HERE, time.time() + 0.3)
    assert {completion.error for completion in failing.generate(conversations)} == {"too long"}
