"""`workbench explain`: the list of checks, one in full, an unknown one."""

import pytest

from workbench.audit_catalogue import EXPLANATIONS
from workbench.cli_explain import explain
from workbench.datatypes import WorkbenchError


def test_without_an_argument_every_check_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    explain()
    *lines, empty, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(EXPLANATIONS)
    assert "shuffled_gold        error, warning   the hits fit their own questions' evidence" in lines[2]
    assert (empty, last) == ("", "more about one: workbench explain CHECK")


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_one_is_explained_in_full_in_short_lines(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    explain(name)
    out = capsys.readouterr().out
    known = EXPLANATIONS[name]
    assert out.startswith(f"{name} ({' or '.join(known.levels)})\n  means      ")
    for text in (known.meaning, known.why, known.what_to_do):
        assert text in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 100


def test_an_unknown_check_is_refused_with_the_nearest() -> None:
    with pytest.raises(WorkbenchError, match=r"unknown check 'orcale'; did you mean 'oracle'\? \(available: .*verdicts_lost\)"):
        explain("orcale")
