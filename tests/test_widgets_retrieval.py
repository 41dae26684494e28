"""The retrieval explorer: candidates are built once and compared at one budget, controls change the page, errors are shown."""

import re

import ipywidgets
import pytest
from IPython.display import HTML
from made_parts import SMALL
from shown_page import Page, columns

from workbench import widgets_question, widgets_retrieval
from workbench.datatypes import Dataset, Example, WorkbenchError
from workbench.experiment import prepare
from workbench.settings import Settings
from workbench.widgets_hits import retrieval_view
from workbench.widgets_question import FREE, find_question
from workbench.widgets_retrieval import Candidates, retrieval_explorer, retrieve_side_by_side

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(autouse=True, scope="module")
def _english():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_LANG", "en")
        yield


def candidates(spec: str) -> list[Settings]:
    point = Settings(dataset=spec, **SMALL)
    return [point.replace(retriever="bm25"), point.replace(retriever="dense", embedder="hash"), point.replace(retriever="random")]


# --- finding -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "ko"])
def test_hits_are_those_of_the_retrievers_within_their_budget(small, language: str) -> None:
    points = [point.replace(answer_budget=20) for point in candidates(small(language))]
    prepared = prepare(points[0])
    example, (bm25, dense, drawn) = retrieve_side_by_side(prepared, points, k=6)
    assert example.evidence
    tokeniser = {"en": "english", "ko": "hangul-bigram"}[language]
    assert [found.label for found in (bm25, dense, drawn)] == [f"bm25:{tokeniser}", "hash embedder · dense", "random"]
    assert bm25.tokeniser == drawn.tokeniser == tokeniser
    for found in (dense, drawn):
        assert [hit.rank for hit in found.hits] == [1, 2, 3, 4, 5, 6]
        assert found.full is not None
        assert found.tokens[found.full - 1] == 20
        assert list(found.tokens) == sorted(found.tokens)
        assert found.tokens[found.full - 2] < 20
    assert "only here" in retrieval_view(example, [bm25, drawn])
    enough = retrieve_side_by_side(prepared, points, k=10, budget=1000)[1][0]
    assert (enough.budget, enough.full, enough.recall) == (1000, None, 1.0)
    least = retrieve_side_by_side(prepared, points, k=6, budget=1)[1][1]
    assert (least.tokens, least.full) == ((1,) * 6, 1)


def test_candidates_are_compared_at_the_largest_of_their_budgets(small) -> None:
    point = candidates(small("en"))[0]
    found = retrieve_side_by_side(prepare(point), [point.replace(answer_budget=20), point.replace(retriever="random", answer_budget=30)])[1]
    assert [item.budget for item in found] == [30, 30]


def test_fewer_hits_are_the_first_of_more(small) -> None:
    points = candidates(small("ko"))
    group = Candidates(prepare(points[0]), points, cached=False)
    example = group.prepared.dataset.examples[0]
    for row in range(3):
        few, many = group.find(row, example, 3), group.find(row, example, 12)
        assert few.hits == many.hits[:3]
        assert few.tokens == many.tokens[:3]


def test_a_map_marks_the_hits_and_the_evidence_of_candidates_with_an_embedder(small) -> None:
    points = candidates(small("en"))
    group = Candidates(prepare(points[0]), points, cached=False)
    example = find_question(group.prepared.dataset)
    chunks = len(group._built(1).chunks)
    drawn = group.draw(1, example, 3)
    assert drawn.count("<g>") == chunks + 1
    assert [f"<title>hit {rank}" in drawn for rank in (1, 2, 3, 4)] == [True, True, True, False]
    assert "evidence: " in drawn
    assert group.draw(1, example, 3) is drawn
    assert group.draw(1, example, 4) != drawn
    for row, label in ((0, "bm25:english"), (2, "random")):
        assert group.draw(row, example, 3) == f'<div class="faint">No map: {label} has no embedder.</div>'


def test_a_question_is_found_by_id_by_text_or_is_ones_own(small) -> None:
    dataset = prepare(candidates(small("en"))[0]).dataset
    known = dataset.examples[3]
    assert find_question(dataset, known.id) == find_question(dataset, f" {known.question}\n") == known
    assert find_question(dataset) == next(example for example in dataset.examples if example.evidence)
    assert find_question(dataset, "Is it\n raining?") == Example(FREE, "Is it raining?")
    with pytest.raises(WorkbenchError, match="'empty' has no questions; write one"):
        find_question(Dataset("empty", (), ()))


def test_wrong_arguments_raise_before_any_widget_is_made(small, monkeypatch) -> None:
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    monkeypatch.setattr(ipywidgets, "VBox", None)
    points = candidates(small("en"))
    prepared = prepare(points[0])
    for listed, reason in [
        ([], "no candidate"),
        ([points[0], points[1].replace(dataset="demo-en")], "their dataset is demo-en and folder:"),
        ([points[0].replace(tokenizer="other")], "prepared with the tokenizer 'simple', the settings name 'other'"),
        ([points[0].replace(retriever="bm26")], "bm25"),
    ]:
        with pytest.raises(WorkbenchError, match=reason):
            retrieval_explorer(prepared, listed)
    with pytest.raises(WorkbenchError, match="k 0 must be between 1 and 50"):
        retrieval_explorer(prepared, points, k=0)
    for budget in (-5, 0):
        with pytest.raises(WorkbenchError, match=f"budget {budget} must be at least 1 token"):
            retrieval_explorer(prepared, points, budget=budget)


def test_no_generator_is_loaded_to_look_at_hits(small) -> None:
    point = candidates(small("en"))[0].replace(generator="hf:no/such-model", primary="answer_f1", answer_budget=20)
    found = retrieve_side_by_side(prepare(point), [point])[1][0]
    assert found.budget == 20


# --- the interface -----------------------------------------------------------------------------------------------------------------------


def test_headless_returns_the_static_view_without_widgets(small, monkeypatch) -> None:
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    monkeypatch.setattr(ipywidgets, "VBox", None)
    points = candidates(small("ko"))
    shown = retrieval_explorer(prepare(points[0]), points)
    assert isinstance(shown, HTML)
    assert len(columns(shown.data)) == 3
    assert shown.data.count("<svg") == 1
    assert shown.data == retrieval_explorer(prepare(points[0]), points).data


def parts(explorer: ipywidgets.VBox):
    choice, own, note, sliders, boxes, crash, page, *_ = explorer.children
    return choice, own, note, *sliders.children, boxes.children, crash, page


def seen(page: ipywidgets.HTML) -> str:
    """Return the text of a view, its maps left out."""
    return Page(re.sub("<svg.*?</svg>", "", page.value, flags=re.DOTALL)).text


def test_controls_change_the_page_and_build_each_candidate_once(small, monkeypatch) -> None:
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    monkeypatch.setattr(widgets_question, "MAX_QUESTIONS", 5)
    built = []
    build = widgets_retrieval.build
    monkeypatch.setattr(widgets_retrieval, "build", lambda settings, *rest: built.append(settings.retriever) or build(settings, *rest))
    points = candidates(small("en"))
    prepared = prepare(points[0])
    last = prepared.dataset.examples[-1]
    choice, own, note, depth, budget, boxes, crash, page = parts(retrieval_explorer(prepared, points, last.id, k=4))
    assert len(choice.options) == 6
    assert f"{len(prepared.dataset.examples) - 6} more questions not listed" in note.value
    assert last.question in page.value
    depth.value = 2
    assert page.value.count('aria-label="hit 2"') == 3
    assert 'aria-label="hit 3"' not in page.value
    budget.value = 16
    assert seen(page).count("The context is full: 16 of 16 tokens.") == 3
    budget.value = 2048
    assert "The context is full" not in seen(page)
    choice.value = 1
    assert seen(page).startswith(f"Question: {prepared.dataset.examples[1].question}")
    assert "<svg" in page.value
    boxes[3].value = False
    assert "<svg" not in page.value
    boxes[2].value = boxes[1].value = False
    assert len(columns(page.value)) == 1
    own.value = "What does error E4 mean, <b>really</b>?"
    assert "Your own question" in page.value
    assert "&lt;b&gt;really" in page.value
    choice.value = 2
    assert own.value == ""
    assert prepared.dataset.examples[2].question in seen(page)
    own.value = prepared.dataset.examples[4].id
    assert prepared.dataset.examples[4].question in seen(page)
    assert sorted(built) == ["bm25:english", "dense", "random"]
    assert not crash.outputs


def test_errors_in_a_callback_are_shown_and_go_away(small, monkeypatch) -> None:
    monkeypatch.delenv("WORKBENCH_HEADLESS", raising=False)
    points = candidates(small("en"))[:1]
    _, own, _, _, _, boxes, _, page = parts(retrieval_explorer(prepare(points[0]), points))
    boxes[0].value = False
    assert "<b>Error:</b> tick at least one candidate" in page.value
    boxes[0].value = True
    assert "Error:" not in page.value
    own.value = "\u200b"
    assert "<b>Error:</b> the question is empty; ask something" in page.value
    own.value = "leave"
    assert "Error:" not in page.value
