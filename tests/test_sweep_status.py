"""Looking at sweeps: what ran, what it scored and two configurations question by question, without touching a file."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from factories import make_result
from ledger_worker import quick_folder
from small_sweep import SPEC, enter_project, tree, write_spec

from workbench import report_pairs, storage, sweep
from workbench.datatypes import WorkbenchError
from workbench.evaluation import load_results, save_results
from workbench.ledger import Ledger
from workbench.sweep_results import Results
from workbench.sweep_status import STILL, Watch, best_results, executed_notebook, run_folders, sweep_folders, sweep_status
from workbench.widgets_runs_pair import Again


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the outputs of a real sweep of three runs, of which one failed, in a project whose data is still there."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        enter_project(folder, patch)
        patch.setenv("TROUBLE", "sentence:raise")
        spec = write_spec(folder, {**SPEC, "grid": {"chunker": ["fixed", "recursive", "sentence"]}})
        assert sweep.run_sweep(spec).executed == 3
        yield folder / "outputs"


def status_of(swept: Path):
    return sweep_status(swept / "tiny", swept)


def test_a_sweep_is_seen_as_it_is_and_left_as_it_is(swept: Path) -> None:
    before = tree(swept)
    (status,) = Watch(swept).look()
    assert (status.name, status.problem, dict(status.counts)) == ("tiny", "", {"queued": 0, "running": 0, "ok": 2, "failed": 1, "lost": 0})
    failed = next(entry for entry in status.entries if entry.state == "failed")
    assert (failed.label, failed.kind) == ("chunker sentence", "raised")
    notebooks = {entry.label: executed_notebook(status.folder, entry.run_id) for entry in status.entries}
    assert notebooks["chunker fixed"].parent.parent.name == "runs"
    assert notebooks["chunker sentence"].parent.parent.name == "failed"
    assert executed_notebook(status.folder, "0123456789ab") is None
    assert status.live(status.changed + STILL - 1)
    assert not status.live(status.changed + STILL + 1)
    assert not status.live(status.changed - STILL - 1)  # of a machine whose clock is ahead
    best = best_results(status.folder)[0]
    board = json.loads((status.folder / "report.json").read_text(encoding="utf-8"))["data_sets"][0]["leaderboard"]
    assert (best.label, best.mean, best.candidates) == (board[0]["label"], board[0]["score"]["mean"], 4)
    results = Results(status.folder)
    assert results.update(status)
    results.pair(results.scored()[0], *(row.result.config_id for row in results.scored()[0].comparison.rows[:2]))
    assert tree(swept) == before


def test_results_are_compared_as_in_the_report_and_read_once(swept: Path) -> None:
    status, results, told = status_of(swept), Results(swept / "tiny"), []
    assert results.update(status, lambda *numbers: told.append(numbers))
    assert told == [(0, 2), (1, 2)]
    assert not results.update(status)
    (scored,) = results.scored()
    record = json.loads((swept / "tiny/report.json").read_text(encoding="utf-8"))["data_sets"][0]
    shown = [(row.label, row.tied, row.difference is None) for row in scored.comparison.rows]
    assert shown == [(row["label"], row["tied"], row["difference"] is None) for row in record["leaderboard"]]
    assert scored.comparison.verdict == record["verdict"]
    by_label = {row.label: scored.runs[row.result.config_id] for row in scored.comparison.rows}
    folders = run_folders(swept / "tiny")
    for label, (run_id,) in by_label.items():
        assert label.removeprefix("hash embedder · ").startswith(folders[run_id].name.partition("-")[0])


def test_a_pair_has_the_texts_of_all_questions_and_both_scores(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(swept.parent)
    results = Results(swept / "tiny")
    results.update(status_of(swept))
    (scored,) = results.scored()
    left, right = scored.comparison.rows[0].result, scored.comparison.rows[-1].result
    pair = results.pair(scored, left.config_id, right.config_id)
    assert {change.question for change in pair.changes} >= {"젖은 손으로 만져도 되나요?", "Why has my hair dryer stopped?"}
    expected = report_pairs.pair(*(report_pairs.Candidate(one, (), "") for one in (left, right)), scored.comparison.metric)
    assert [(change.id, change.left, change.right) for change in pair.changes] == [
        (one.id, one.left, one.right) for one in expected.changes
    ]
    assert pair.interval == expected.interval
    with pytest.raises(WorkbenchError, match="both sides are the same configuration"):
        results.pair(scored, left.config_id, left.config_id)
    with pytest.raises(WorkbenchError, match="no configuration 'none'"):
        results.pair(scored, "none", left.config_id)


def test_texts_of_changed_data_are_not_shown(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(swept.parent / "docs", tmp_path / "docs")
    questions = tmp_path / "docs/questions.csv"
    questions.write_text(questions.read_text(encoding="utf-8").replace("젖은", "마른", 1), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    results = Results(swept / "tiny")
    results.update(status_of(swept))
    (scored,) = results.scored()
    pair = results.pair(scored, *(row.result.config_id for row in scored.comparison.rows[:2]))
    assert "마른" not in "".join(change.question for change in pair.changes)


def test_a_result_that_cannot_be_read_is_named_and_the_others_count(swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept / "tiny", tmp_path / "tiny")
    status = sweep_status(tmp_path / "tiny")
    broken = next((tmp_path / "tiny/runs").glob("fixed-*/result.json"))
    broken.write_text("{", encoding="utf-8")
    results = Results(tmp_path / "tiny")
    results.update(status)
    assert "is not the result that" in "".join(results.problems.values())
    assert len(results.scored()[0].comparison.rows) == 2
    shutil.rmtree(broken.parent)
    assert results.update(status)
    assert not results.problems
    assert not results.update(status)
    record = storage.read_json(tmp_path / "tiny/report.json")
    baseline = results.scored()[0].comparison.rows[1].result.config_id
    for row in record["data_sets"][0]["leaderboard"]:
        row["difference"] = None if row["config_id"] == baseline else {}
    storage.write_json(tmp_path / "tiny/report.json", record)
    assert results.update(status)  # the baseline is another one
    assert next(row for row in results.scored()[0].comparison.rows if row.difference is None).result.config_id == baseline


def test_what_has_no_ledger_or_a_broken_one_is_told_from_its_files(swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept / "tiny", tmp_path / "tiny")
    ledger = tmp_path / "tiny/ledger.sqlite"
    ledger.write_bytes(b"broken" * 1000)
    (status,) = Watch(tmp_path).look()
    assert status.counts["ok"] == 2
    assert "cannot be read (file is not a database)" in status.problem
    assert ledger.read_bytes() == b"broken" * 1000
    ledger.unlink()
    (status,) = Watch(tmp_path).look()
    assert (status.counts["ok"], status.problem) == (2, "")
    (tmp_path / "tiny/report.json").write_text('{"data_sets": [{"leaderboard": [{}]}]}', encoding="utf-8")
    assert best_results(tmp_path / "tiny") == []


def test_what_was_run_by_hand_counts_and_other_folders_do_not(tmp_path: Path) -> None:
    save_results(tmp_path / "first/by-hand/result.json", [make_result({"ndcg@10": [0.5, 1.0]})])
    storage.write_text(tmp_path / "cache/cache.sqlite", "")
    storage.write_text(tmp_path / ".hidden/runs/x/result.json", "{}")
    (status,) = Watch(tmp_path).look()
    assert (status.name, status.counts["ok"]) == ("first/by-hand", 1)
    results = Results(status.folder)
    results.update(status)
    assert len(load_results(status.folder / "result.json")) == len(results.scored()[0].comparison.rows) == 1
    with pytest.raises(WorkbenchError, match=r"no such folder: .*none; give the folder outputs/, or that of a sweep in it"):
        sweep_folders(tmp_path / "none")
    assert sweep_folders(tmp_path / "first") == [tmp_path / "first/by-hand"]


def test_a_watch_reads_again_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    import workbench.sweep_status as module

    def unreadable(path: Path) -> list:
        raise WorkbenchError("no space left")

    real = module.read_ledger
    monkeypatch.setattr(module, "read_ledger", lambda path: read.append(path) or real(path))
    watch = Watch(tmp_path)
    with closing(Ledger(tmp_path / "tiny/ledger.sqlite")) as ledger:
        ledger.add([("a", "one"), ("b", "two")])
        assert [watch.look()[0].counts["queued"] for _ in range(3)] == [2, 2, 2]
        assert len(read) == 1
        ledger.claim(["a"])
        assert [watch.look()[0].counts["running"] for _ in range(2)] == [1, 1]
        assert len(read) == 3  # who runs it may end without a word
        ledger.fail("a", "raised", "ValueError: no", 1.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "read_ledger", unreadable)
            assert "no space left" in watch.look()[0].problem
        assert [watch.look()[0].counts["failed"] for _ in range(2)] == [1, 1]  # what could not be read is tried again
        assert len(read) == 4


@pytest.fixture
def quick() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


def test_hundreds_of_runs_are_looked_at_and_compared_in_a_moment(quick: Path) -> None:
    clusters = [f"d{number // 4}" for number in range(40)]
    for number in range(150):
        scores = {"evidence_recall@512t": [((number * 7 + question * 13) % 11) / 10 for question in range(40)]}
        result = make_result(scores, clusters, chunk_size=16 + number)
        folder = quick / f"many/runs/{number}-{number:012x}"
        save_results(folder / "result.json", [result])
        storage.write_json(folder / "record.json", {"result": storage.sha256_file(folder / "result.json")})
    began = time.perf_counter()
    status, results = sweep_status(quick / "many"), Results(quick / "many")
    assert time.perf_counter() - began < 1
    results.update(status)
    assert len(results.scored()[0].comparison.rows) == 150


def test_both_sides_are_retrieved_again_from_the_same_data_only(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache.sqlite"))
    results = Results(swept / "tiny")
    results.update(status_of(swept))
    (scored,) = results.scored()
    pair = results.pair(scored, *(row.result.config_id for row in scored.comparison.rows[:2]))
    question = next(change for change in pair.changes if change.question.startswith("젖은"))
    page = Again(pair).view(question.id)
    assert page.count("<section") == 2
    assert "젖은 손으로 만지지 마십시오" in page.replace("<mark>", "").replace("</mark>", "").replace("<u>", "").replace("</u>", "")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(swept.parent / "docs", tmp_path / "docs")
    storage.write_text(tmp_path / "docs/kettle.md", "# kettle\n\nAnother text. Descale it with vinegar every second month.")
    with pytest.raises(WorkbenchError, match=r"is not what these runs were evaluated on any more|달라"):
        Again(pair).view(question.id)
