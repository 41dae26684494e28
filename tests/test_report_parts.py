"""What every form of a report shows: bad input is refused, and the commit is read from files."""

from pathlib import Path

import pytest
from factories import make_results

from workbench.datatypes import WorkbenchError
from workbench.report_parts import commit, gather


def test_bad_input_is_refused() -> None:
    results = make_results()
    with pytest.raises(WorkbenchError, match="nothing to report: no results and no failed runs"):
        gather([], "x")
    with pytest.raises(WorkbenchError, match=r"unknown data set of a baseline 'demo-em'; did you mean 'demo-en'\?"):
        gather(results, "x", baseline={"demo-em": results[0].config_id})
    with pytest.raises(WorkbenchError, match=f"unknown baseline of demo-en: 'abc'.*{results[0].config_id}"):
        gather(results, "x", baseline={"demo-en": "abc"})


def test_the_commit_is_read_without_a_program(tmp_path: Path) -> None:
    git, one, two = tmp_path / ".git", "1" * 40, "2" * 40
    assert commit(tmp_path) == ""
    for name, text in {
        "HEAD": "ref: refs/heads/main\n",
        "packed-refs": f"# pack-refs\n{one} refs/heads/main\n{two} refs/heads/main2\n",
    }.items():
        git.mkdir(exist_ok=True)
        (git / name).write_text(text, "utf-8")
    assert commit(tmp_path) == one
    (git / "refs/heads").mkdir(parents=True)
    (git / "refs/heads/main").write_text(two + "\n", "utf-8")
    assert commit(tmp_path) == two
    (git / "HEAD").write_text(one, "utf-8")
    assert commit(tmp_path) == one
    own = git / "worktrees/side"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/main\n", "utf-8")
    (own / "commondir").write_text("../..\n", "utf-8")
    (tmp_path / "side").mkdir()
    (tmp_path / "side/.git").write_text(f"gitdir: {own}\n", "utf-8")
    assert commit(tmp_path / "side") == two
    for wrong in ("ref: refs/../../secret", "no commit", "ref: refs/heads/gone"):
        (git / "HEAD").write_text(wrong, "utf-8")
        assert commit(tmp_path) == ""
