"""Whatever three users of a ledger call, in whatever order: it agrees with a dictionary."""

from contextlib import ExitStack
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from ledger_worker import RESULT, Clock, opened, quick_folder

from workbench.ledger import ENDED, LEASE


@dataclass
class Model:
    """Hold what should be known of a run."""

    state: str = "queued"
    attempts: int = 0
    owner: int = -1
    lease: float = 0.0


RUNS, WHO = st.sampled_from("abc"), st.integers(0, 2)
MOST = 2


class Machine(RuleBasedStateMachine):
    """Compare three ledgers of one file with a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.model = {run_id: Model() for run_id in "abc"}
        with ExitStack() as stack:
            self.path = stack.enter_context(quick_folder()) / "ledger.sqlite"
            self.ledgers = [opened(self.path, self.clock, MOST) for _ in range(3)]
            self.stack = stack.pop_all()

    def abandoned(self, run: Model, who: int) -> bool:
        return run.state == "running" and run.owner != who and run.lease < self.clock.now

    @rule(who=WHO, wanted=st.sets(RUNS, min_size=1), most=st.integers(1, 3))
    def claim(self, who: int, wanted: set[str], most: int) -> None:
        runs = [(run_id, run) for run_id, run in self.model.items() if run_id in wanted]
        first = [run_id for run_id, run in runs if run.state == "queued"]
        first += [run_id for run_id, run in runs if run.state == "lost" and run.attempts < MOST]
        first += [run_id for run_id, run in runs if self.abandoned(run, who) and run.attempts < MOST]
        assert self.ledgers[who].claim_many(sorted(wanted), most) == first[:most]
        for run_id in first[:most]:
            self.model[run_id] = Model("running", self.model[run_id].attempts + 1, who, self.clock.now + LEASE)
        for run_id, run in runs:
            if self.abandoned(run, who) and run.attempts == MOST and len(first) < most:
                self.model[run_id] = Model("lost", MOST)

    @rule(who=WHO, run_id=RUNS, end=st.sampled_from([*ENDED, "queued"]))
    def end(self, who: int, run_id: str, end: str) -> None:
        ledger, run = self.ledgers[who], self.model[run_id]
        work = {
            "ok": lambda: ledger.ok(run_id, RESULT, 1),
            "failed": lambda: ledger.fail(run_id, "raised", "error", 1),
            "lost": lambda: ledger.lose(run_id, "died", "error", 1),
            "queued": lambda: ledger.release(run_id),
        }
        ours = run.state == "running" and run.owner == who
        assert work[end]() == ours
        if ours:
            self.model[run_id] = Model(end, run.attempts - (end == "queued"))

    @rule(who=WHO)
    def beat(self, who: int) -> None:
        held = [run for run in self.model.values() if run.state == "running" and run.owner == who]
        assert self.ledgers[who].beat() == len(held)
        for run in held:
            run.lease = self.clock.now + LEASE

    @rule(who=WHO, wanted=st.sets(RUNS), ended=st.sets(st.sampled_from(ENDED)))
    def requeue(self, who: int, wanted: set[str], ended: set[str]) -> None:
        found = [run_id for run_id in wanted if self.model[run_id].state in ended]
        assert self.ledgers[who].requeue(wanted, ended) == len(found)
        self.model.update({run_id: Model() for run_id in found})

    @rule(seconds=st.sampled_from([1, LEASE - 1, LEASE + 1]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(who=WHO)
    def close(self, who: int) -> None:
        self.ledgers[who].close()  # opened again by the next call; what it holds stays its own

    @invariant()
    def agrees(self) -> None:
        for entry in self.ledgers[0].entries():
            run = self.model[entry.run_id]
            if entry.state == "lost" and run.state == "running" and run.attempts == MOST and run.lease < self.clock.now:
                self.model[entry.run_id] = run = Model("lost", MOST)  # a claim that found enough may have seen it, or not
            assert (entry.state, entry.attempts) == (run.state, run.attempts)
            assert bool(entry.owner) == (entry.state == "running")
            assert bool(entry.result) == (entry.state == "ok")

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        self.stack.close()


TestAllSequences = Machine.TestCase
TestAllSequences.settings = settings(max_examples=30, stateful_step_count=30, deadline=None, derandomize=True)
