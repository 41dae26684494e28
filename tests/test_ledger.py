"""What the ledger records, who may claim what, and when a lease passes on; damage and killed processes are in test_ledger_damage.py."""

import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from ledger_worker import RESULT, Clock, names, opened, quick_folder

from workbench.datatypes import WorkbenchError
from workbench.ledger import ENDED, ERROR_LIMIT, LEASE, Entry, Ledger


@pytest.fixture
def path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "sweep" / "ledger.sqlite"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(path: Path, clock: Clock) -> Ledger:
    return opened(path, clock)


@pytest.fixture
def elsewhere(path: Path, clock: Clock, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Give the ledger as a driver on another host has it open."""
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "elsewhere")
        return opened(path, clock)


def states(ledger: Ledger) -> str:
    return " ".join(f"{entry.run_id}:{entry.state}:{entry.attempts}" for entry in ledger.entries())


# --- states ----------------------------------------------------------------------------------------------------------------------------


def test_a_run_from_queued_to_each_end(ledger: Ledger, clock: Clock) -> None:
    assert ledger.entries(["b"]) == [Entry("b", "chunker 문장", "queued", 0, "", "", "", None, "", 1_000_000.0)]
    assert [ledger.claim("abc") for _ in range(4)] == ["a", "b", "c", None]
    assert {entry.state for entry in ledger.entries()} == {"running"}
    assert f"{socket.gethostname()} {os.getpid()} " in ledger.entries(["a"])[0].owner
    clock.now += 7
    assert ledger.ok("a", RESULT, 2.5)
    assert ledger.fail("b", "raised", "ValueError: 값이 없습니다", 1)
    assert ledger.lose("c", "died", "the kernel died", 0.5)
    assert ledger.entries() == [
        Entry("a", "chunker fixed", "ok", 1, "", "", "", 2.5, RESULT, 1_000_007.0),
        Entry("b", "chunker 문장", "failed", 1, "", "raised", "ValueError: 값이 없습니다", 1.0, "", 1_000_007.0),
        Entry("c", "", "lost", 1, "", "died", "the kernel died", 0.5, "", 1_000_007.0),
    ]
    assert not ledger.ok("a", RESULT, 1)  # it ended already
    assert [ledger.claim("ab"), ledger.claim("abc"), ledger.claim("abc")] == [None, "c", None]
    assert ledger.ok("c", RESULT, 1)
    assert ledger.entries(["c", "x", "a"])[0] == Entry("c", "", "ok", 2, "", "", "", 1.0, RESULT, 1_000_007.0)
    assert [entry.run_id for entry in ledger.entries(["c", "x", "a"])] == ["c", "a"]


def test_a_lost_run_is_tried_three_times_unless_it_is_queued_again(ledger: Ledger) -> None:
    for _ in range(3):
        assert ledger.claim("b") == "b"
        assert ledger.lose("b", "died", "", 1)
    assert ledger.claim("b") is None
    assert ledger.requeue("abc", ["failed"]) == 0
    assert ledger.requeue("abc", ["failed", "lost"]) == 1
    assert states(ledger) == "a:queued:0 b:queued:0 c:queued:0"
    assert ledger.claim("b") == "b"
    assert ledger.requeue("abc", ENDED) == 0  # b is running
    assert ledger.ok("b", RESULT, 1)
    assert ledger.requeue(iter("cba"), iter(ENDED)) == 1
    assert ledger.entries(["b"])[0].result == ""


def test_a_released_run_was_never_tried(ledger: Ledger, elsewhere: Ledger) -> None:
    ledger.claim("a")
    ledger.lose("a", "died", "", 1)
    assert ledger.claim("a") == "a"
    assert not elsewhere.release("a")
    assert ledger.release("a")
    assert not ledger.release("a")
    assert states(ledger) == "a:queued:1 b:queued:0 c:queued:0"


def test_what_is_known_of_a_run_is_kept(ledger: Ledger, path: Path, clock: Clock) -> None:
    ledger.claim("a")
    ledger.ok("a", RESULT, 1)
    again = Ledger(path, clock=clock)
    again.add([("d", "new"), ("a", "another label")])
    assert [(entry.run_id, entry.label, entry.state) for entry in again.entries(["a", "d"])] == [
        ("a", "chunker fixed", "ok"),
        ("d", "new", "queued"),
    ]


def test_runs_of_an_earlier_spec_are_forgotten_once_none_of_them_runs(ledger: Ledger, elsewhere: Ledger, clock: Clock) -> None:
    ledger.claim("a")
    ledger.fail("a", "raised", "no luck", 1)
    elsewhere.claim("b")
    assert ledger.forget_others("c") == 0
    assert [entry.run_id for entry in ledger.entries()] == ["a", "b", "c"]
    clock.now += LEASE + 1  # whoever ran it is gone
    assert ledger.forget_others("c") == 2
    assert [entry.run_id for entry in ledger.entries()] == ["c"]


def test_a_resume_tries_again_what_the_infrastructure_ended(ledger: Ledger, elsewhere: Ledger, clock: Clock) -> None:
    """A killed driver is no fault of its run, however often it happens."""
    ledger.add((run_id, run_id) for run_id in "abcd")
    elsewhere.add((run_id, run_id) for run_id in "abcd")
    for _ in range(3):
        assert ledger.claim("a") == "a"
        assert ledger.lose("a", "died", "", 1.0)
    assert ledger.claim("b") == "b"
    assert ledger.fail("b", "raised", "", 1.0)
    assert elsewhere.claim("c") == "c"
    assert ledger.claim("a") is None
    assert ledger.resume("abcd") == 1  # the other driver lives
    clock.now += 1000
    assert ledger.resume("abcd") == 1
    assert [(entry.state, entry.attempts) for entry in ledger.entries("abcd")] == [
        ("queued", 0),
        ("failed", 1),
        ("queued", 0),
        ("queued", 0),
    ]


def test_queued_runs_come_before_lost_ones_and_these_before_abandoned_ones(ledger: Ledger, elsewhere: Ledger, clock: Clock) -> None:
    assert elsewhere.claim("a") == "a"
    assert ledger.claim("b") == "b"
    ledger.lose("b", "died", "", 1)
    clock.now += LEASE + 1
    assert ledger.claim_many("bac", 2) == ["c", "b"]
    assert ledger.claim_many("bac", 2) == ["a"]


def test_batches(ledger: Ledger, elsewhere: Ledger, clock: Clock) -> None:
    assert ledger.claim_many("cb", 5) == ["b", "c"]
    assert elsewhere.claim_many("abc", 5) == ["a"]
    assert ledger.ok_many([(run_id, RESULT, 1) for run_id in "abc"]) == {"b", "c"}
    assert (ledger.ok_many([]), ledger.claim_many([], 1)) == (set(), [])
    assert states(ledger) == "a:running:1 b:ok:1 c:ok:1"


def test_threads_share_one_ledger(ledger: Ledger) -> None:
    run_ids = names(60)
    ledger.add((run_id, "") for run_id in run_ids)
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: ledger.claim(run_ids), range(70)))
        assert sorted(filter(None, taken)) == run_ids
        assert all(pool.map(lambda run_id: ledger.ok(run_id, RESULT, 1), run_ids))


def test_ten_thousand_runs(ledger: Ledger) -> None:
    run_ids = names(10_000)
    start = time.process_time()
    ledger.add((run_id, "chunker fixed, chunk_size 8") for run_id in run_ids)
    assert time.process_time() - start < 1
    start = time.process_time()
    for run_id in run_ids[:200]:
        assert ledger.claim(run_ids) == run_id
    assert time.process_time() - start < 200 * 0.002


# --- leases ----------------------------------------------------------------------------------------------------------------------------


def test_the_lease_of_another_host_passes_on_when_it_runs_out(ledger: Ledger, elsewhere: Ledger, clock: Clock) -> None:
    assert elsewhere.claim("a") == "a"
    clock.now += LEASE
    assert ledger.claim("a") is None
    assert (elsewhere.beat(), ledger.beat()) == (1, 0)
    clock.now += LEASE
    assert ledger.claim("a") is None
    clock.now += 1
    assert ledger.claim("a") == "a"
    assert elsewhere.beat() == 0
    assert not elsewhere.ok("a", RESULT, 1)
    assert not elsewhere.fail("a", "raised", "", 1)
    assert not elsewhere.lose("a", "died", "", 1)
    assert states(ledger) == "a:running:2 b:queued:0 c:queued:0"
    assert ledger.ok("a", RESULT, 1)


def test_an_old_lease_that_nobody_took_is_still_good(ledger: Ledger, clock: Clock) -> None:
    ledger.claim("a")
    clock.now += 10 * LEASE
    assert ledger.claim("a") is None  # it runs it itself
    assert ledger.ok("a", RESULT, 300)


def test_a_clock_that_was_far_ahead_blocks_nobody(ledger: Ledger, elsewhere: Ledger, clock: Clock) -> None:
    clock.now += 1e7
    elsewhere.claim("a")
    clock.now -= 1e7
    assert ledger.claim("a") == "a"


def test_takeovers_count_as_attempts_until_the_run_is_queued_again(ledger: Ledger, elsewhere: Ledger, clock: Clock) -> None:
    for turn in (elsewhere, ledger, elsewhere):
        assert turn.claim("a") == "a"
        clock.now += LEASE + 1
    assert ledger.claim("a") is None
    entry = ledger.entries(["a"])[0]
    assert (entry.state, entry.kind, entry.attempts, entry.owner) == ("lost", "abandoned", 3, "")
    assert f"process {os.getpid()} on elsewhere" in entry.error
    assert ledger.requeue("a", ["lost"]) == 1
    assert ledger.claim("a") == "a"


def test_a_process_id_that_is_used_again_is_not_its_owner(
    ledger: Ledger, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    living = opened(path, clock)
    assert living.claim("a") == "a"
    assert ledger.claim("a") is None
    with monkeypatch.context() as patch:
        began = psutil.Process().create_time() - 100
        patch.setattr(psutil.Process, "create_time", lambda process: began)
        ended = opened(path, clock)
    assert ended.claim("b") == "b"
    assert ledger.claim("ab") == "b"
    assert not ended.ok("b", RESULT, 1)


def test_setting_the_clock_makes_no_driver_look_dead(ledger: Ledger, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(path, clock).claim("a") == "a"
    began, boot = psutil.Process().create_time(), psutil.boot_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: began + 3600)  # both move with the clock
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + 3600)
    assert ledger.claim("a") is None


# --- input -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda ledger: ledger.claim(["a", "x"]), "the run 'x' was not added to the ledger"),
        (lambda ledger: ledger.claim_many("a", 0), "0 runs cannot be claimed"),
        (lambda ledger: ledger.add([("", "label")]), "'' cannot be a run id"),
        (lambda ledger: ledger.add([("x" * 501, "label")]), "cannot be a run id"),
        (lambda ledger: ledger.add([("\ud800", "label")]), "cannot be a run id"),
        (lambda ledger: ledger.ok("a", RESULT[1:], 1), "is not the sha256 of the result of run 'a'"),
        (lambda ledger: ledger.ok("a", RESULT.upper(), 1), "64 hexadecimal digits"),
        (lambda ledger: ledger.ok("a", RESULT, float("nan")), "cannot have taken nan seconds"),
        (lambda ledger: ledger.fail("a", "raised", "", -1), "cannot have taken -1 seconds"),
        (lambda ledger: ledger.requeue("a", ["running"]), "unknown state of a run that can be queued again: 'running'"),
        (lambda ledger: ledger.requeue([], ["faild"]), "did you mean 'failed'"),
        (lambda ledger: Ledger(ledger._file.path, most_attempts=0), "attempted 0 times; give at least 1"),
        (lambda ledger: Ledger(ledger._file.path.parent), "the ledger .* cannot be used"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(ledger: Ledger, work: Callable[[Ledger], object], message: str) -> None:
    assert ledger.claim("a") == "a"
    before = ledger.entries()
    with pytest.raises(WorkbenchError, match=message):
        work(ledger)
    assert ledger.entries() == before


def test_any_text_can_be_stored_and_a_long_one_keeps_its_ends(ledger: Ledger) -> None:
    ledger.claim("a")
    ledger.fail("a", "raised", "\ud800\0 첫째 줄 " + "x" * 50_000 + " 끝: ValueError", 1)
    error = ledger.entries(["a"])[0].error
    assert len(error) == ERROR_LIMIT
    assert error.startswith("?\0 첫째 줄 xxx")
    assert "\n… cut …\n" in error
    assert error.endswith("x 끝: ValueError")
    ledger.add([("d", "y" * 1000)])
    assert len(ledger.entries(["d"])[0].label) == 500


def test_only_its_owner_can_read_it(ledger: Ledger, path: Path) -> None:
    assert {stat.S_IMODE(path.with_name(path.name + suffix).stat().st_mode) for suffix in ("", "-wal")} == {0o600}
