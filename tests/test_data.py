"""Test loading by spec, drawing, splitting, checking, and the real data sets."""

import random
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from workbench import data
from workbench.datatypes import Dataset, Document, Example, Span, WorkbenchError


def made(groups: dict[str, int], links: tuple[tuple[str, str], ...] = (), unanswerable: dict[str, str] | None = None) -> Dataset:
    """Build a data set: questions per document group, questions that need two groups, and unanswerable ones with their group."""
    documents = [Document(f"{group}-{n}", f"Text {n} of {group}.", metadata={"group": group}) for group in groups for n in (1, 2)]
    examples = [
        Example(f"{group}-q{n}", f"What about {n} of {group}?", (str(n),), ((Span(f"{group}-{1 + n % 2}", 0, 4),),))
        for group, count in groups.items()
        for n in range(count)
    ]
    examples += [
        Example(f"{first}+{second}", f"Both {first} and {second}?", ("x",), ((Span(f"{first}-1", 0, 4),), (Span(f"{second}-1", 0, 4),)))
        for first, second in links
    ]
    examples += [
        Example(name, f"Unknown {name}?", metadata={"group": group} if group else {}) for name, group in (unanswerable or {}).items()
    ]
    return Dataset("made", tuple(documents), tuple(examples))


def ids(dataset: Dataset) -> set[str]:
    return {example.id for example in dataset.examples}


# --- load -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("demo-kr", r"unknown data set 'demo-kr'; did you mean 'demo-ko'\? \(available: beir, demo-en"),
        ("squd:x.json", r"unknown data set 'squd'; did you mean 'squad'"),
        ("", "unknown data set ''"),
        ("demo-en:x", "takes no argument"),
        ("squad", "needs an argument"),
        ("squad:", "needs an argument"),
        ("squad:no/such.json", r"no such file or folder: no/such.json \(looked in "),
        ("no/such/folder", "no such file or folder: no/such/folder"),
        ("folder:" + "x" * 5000, "no such file or folder"),
    ],
)
def test_unknown_sources(spec, message):
    with pytest.raises(WorkbenchError, match=message):
        data.load(spec)


def test_options_are_checked(tmp_path):
    (tmp_path / "a.md").write_text("text", encoding="utf-8")
    with pytest.raises(WorkbenchError, match=r"unknown option of data set 'folder': 'encodin'; did you mean 'encoding'"):
        data.load(f"folder:{tmp_path}", encodin="utf-8")
    with pytest.raises(WorkbenchError, match="data set 'demo-en' has no options, got 'split'"):
        data.load("demo-en", split="x")


def test_relative_paths_count_from_here_then_from_the_project(tmp_path, monkeypatch):
    for name in ("here", "home"):
        (tmp_path / name / "docs").mkdir(parents=True)
        (tmp_path / name / "docs" / "a.md").write_text(f"from {name}", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    assert data.load("folder:docs").documents[0].text == "from here"
    (tmp_path / "here" / "docs" / "a.md").unlink()
    (tmp_path / "here" / "docs").rmdir()
    assert data.load("docs").documents[0].text == "from home"
    assert data.load("docs").name == "docs"
    with pytest.raises(WorkbenchError, match=r"docs/a.md is a file; say what it is: table:docs/a.md"):
        data.load("docs/a.md")
    (tmp_path / "home" / "docs" / "documents.jsonl").write_text('{"id": "j", "text": "lines"}', encoding="utf-8")
    assert [document.id for document in data.load("docs").documents] == ["j"]


def test_wrong_kind_of_file(tmp_path):
    with pytest.raises(WorkbenchError, match="cannot read"):
        data.load(f"squad:{tmp_path}")
    with pytest.raises(WorkbenchError, match=r"no such file: .*documents\.jsonl"):
        data.load(f"jsonl:{tmp_path}")
    (tmp_path / "a.md").touch()
    with pytest.raises(WorkbenchError, match="is not a folder"):
        data.load(f"folder:{tmp_path / 'a.md'}")
    with pytest.raises(WorkbenchError, match=r"must be a \.csv, \.tsv or \.xlsx file"):
        data.load(f"table:{tmp_path / 'a.md'}")


def test_d22_fingerprint_follows_the_content_only(tmp_path):
    folder = data.write_template(tmp_path / "one")
    first = data.load(f"folder:{folder}").fingerprint
    assert len(first) == 64
    assert data.load(f"folder:{data.write_template(tmp_path / 'two')}").fingerprint == first
    document = folder / "documents" / "returns-policy.md"
    document.touch()
    assert data.load(f"folder:{folder}").fingerprint == first
    document.write_text(document.read_text(encoding="utf-8").replace("three working", "four working"), encoding="utf-8")
    assert data.load(f"folder:{folder}").fingerprint != first


# --- sample, clusters, split ------------------------------------------------------------------------------------------------------


def test_sample_draws_questions_and_keeps_documents():
    dataset = made({"a": 10, "b": 10})
    drawn = data.sample(dataset, 5, seed=1)
    assert len(drawn.examples) == 5
    assert drawn.documents == dataset.documents
    assert drawn.fingerprint
    assert [e.id for e in drawn.examples] == [e.id for e in dataset.examples if e.id in ids(drawn)]
    shuffled = replace(dataset, examples=tuple(random.Random(3).sample(dataset.examples, 20)))
    assert ids(data.sample(shuffled, 5, seed=1)) == ids(drawn)
    assert ids(drawn) < ids(data.sample(dataset, 8, seed=1))
    assert ids(data.sample(dataset, 5, seed=2)) != ids(drawn)
    assert data.sample(dataset, 99, seed=1) is dataset
    with pytest.raises(WorkbenchError, match="at least 1 question, got 0"):
        data.sample(dataset, 0, seed=1)


def test_clusters_join_groups_that_one_question_needs():
    dataset = made({"a": 1, "b": 1, "c": 1, "d": 1}, links=(("c", "b"), ("b", "a")), unanswerable={"u": "c", "v": "", "w": "new"})
    labels = data.clusters(dataset)
    assert {labels[name] for name in ("a-q0", "b-q0", "c-q0", "c+b", "b+a", "u")} == {"a"}
    assert labels["d-q0"] == "d"
    assert labels["v"] == "question:v"
    assert labels["w"] == "new"


def test_clusters_of_a_long_chain_stay_cheap():
    size = 20_000
    documents = tuple(Document(f"{n:05}", "text") for n in range(size))
    examples = tuple(Example(f"q{n}", "?", (), ((Span(f"{n + 1:05}", 0, 1),), (Span(f"{n:05}", 0, 1),))) for n in range(size - 1))
    assert set(data.clusters(Dataset("chain", documents, examples)).values()) == {"00000"}


def test_split_keeps_clusters_whole_and_the_shares_near():
    dataset = made({f"g{n:02}": 3 + n % 4 for n in range(24)}, links=(("g00", "g01"), ("g05", "g06")), unanswerable={"u": "g03", "v": ""})
    parts = data.split(dataset, seed=7)
    assert list(parts) == ["train", "selection", "confirmation"]
    assert sorted(name for part in parts.values() for name in ids(part)) == sorted(ids(dataset))
    labels = data.clusters(dataset)
    seen = [{labels[name] for name in ids(part)} for part in parts.values()]
    assert sum(map(len, seen)) == len(set().union(*seen))
    for name, part in parts.items():
        assert part.documents == dataset.documents
        assert abs(len(part.examples) / len(dataset.examples) - data.SHARES[name]) < 0.03
    shuffled = replace(dataset, examples=tuple(random.Random(3).sample(dataset.examples, len(dataset.examples))))
    assert {name: ids(part) for name, part in data.split(shuffled, seed=7).items()} == {name: ids(part) for name, part in parts.items()}
    assert ids(data.split(dataset, seed=8)["train"]) != ids(parts["train"])
    assert len({part.fingerprint for part in parts.values()}) == 3


def test_split_that_leaves_a_part_empty_is_an_error():
    with pytest.raises(WorkbenchError, match=r"no question is left for .*\(9 questions in 2 independent groups of documents\)"):
        data.split(made({"a": 4, "b": 5}))
    with pytest.raises(WorkbenchError, match="needs a share above 0"):
        data.split(made({"a": 4}), shares={"train": 0})


# --- check and template -----------------------------------------------------------------------------------------------------------


def test_check_counts_and_lists_findings():
    dataset = made({"a": 2, "b": 1}, links=(("a", "b"),), unanswerable={"u": "a"})
    extra = (Document("copy", "Text 1 of a.", metadata={"group": "a"}), Document("leak", "Text 1 of b.", metadata={"group": "z"}))
    examples = (
        Example("again", "what  about 0 OF a?", ("0",), ((Span("a-1", 0, 4),),)),
        Example("other", "Unknown u?", metadata={"group": "z"}),
        Example("A_Q0", "answer only?", ("x",), metadata={"group": "a"}),
    )
    dataset = replace(dataset, documents=dataset.documents + extra, examples=dataset.examples + examples, losses=("one lost",))
    report = data.check(dataset)
    assert (report.documents, report.groups, report.questions, report.answerable) == (6, 3, 8, 6)
    assert report.unanswerable_share == 0.25
    assert (report.several_places, report.without_evidence, report.evidence_spans) == (1, 1, 6)
    assert report.duplicate_documents == (("a-1", "copy"),)
    assert report.leakage == (("b-1", "leak"),)
    assert report.duplicate_questions == (("a-q0", "again"),)
    assert report.repeated_questions == (("u", "other"),)
    assert report.similar_ids == (("a-q0", "A_Q0"),)
    assert report.document_languages == {"en": 6}
    assert report.exit_code == 1
    for line in (
        "lost or skipped: 1",
        "- one lost",
        "leakage: the same text in several groups: 1",
        "- b-1, leak",
        "unanswerable 2 (25.0%)",
    ):
        assert line in report.render()


def test_warnings_alone_leave_the_exit_code_0():
    dataset = made({"a": 1, "b": 1}, unanswerable={"u": "a"})
    dataset = replace(dataset, examples=(*dataset.examples, Example("U", "Unknown u?", metadata={"group": "b"})))
    report = data.check(dataset)
    assert report.repeated_questions == (("u", "U"),)
    assert report.similar_ids == (("u", "U"),)
    assert report.exit_code == 0


def test_template_is_ready_to_load(tmp_path):
    folder = data.write_template(tmp_path / "new" / "mine")
    report = data.check(f"folder:{folder}")
    assert report.exit_code == 0, report.render()
    assert report.losses == ()
    assert (report.documents, report.questions, report.several_places, report.unanswerable_share) == (2, 5, 1, 0.2)
    assert report.document_languages == {"en": 1, "ko": 1}
    from_table = data.load(f"table:{folder / 'questions.csv'}")
    from_folder = data.load(f"folder:{folder}")
    assert from_table.examples == from_folder.examples
    assert sorted(from_table.documents, key=lambda d: d.id) == sorted(from_folder.documents, key=lambda d: d.id)
    with pytest.raises(WorkbenchError, match="is not an empty folder"):
        data.write_template(folder)
    with pytest.raises(WorkbenchError, match="is not an empty folder"):
        data.write_template(folder / "questions.csv")


# --- packaged and real data -------------------------------------------------------------------------------------------------------


def assert_sound(dataset: Dataset) -> None:
    texts = {document.id: document.text for document in dataset.documents}
    assert len(texts) == len(dataset.documents)
    for example in dataset.examples:
        for span in (span for unit in example.evidence for span in unit):
            text = texts[span.document_id][span.start : span.end]
            assert len(text) == span.end - span.start
            assert dataset.document_gold or text == text.strip() != ""
    assert all(unicodedata.is_normalized("NFC", text) for text in texts.values())


@pytest.mark.parametrize("language", ["en", "ko"])
def test_demo(language):
    dataset = data.load(f"demo-{language}")
    report = data.check(dataset)
    assert report.exit_code == 0, report.render()
    assert report.document_languages == {language: report.documents}
    assert report.question_languages == {language: report.questions}
    assert report.documents >= 40
    assert report.groups >= 15
    assert_sound(dataset)
    assert all("/" not in document.id and document.metadata["domain"] for document in dataset.documents)


def test_both_demos_hold_the_same_questions():
    english, korean = data.load("demo-en"), data.load("demo-ko")
    assert ids(english) == ids(korean)
    assert data.clusters(english) == data.clusters(korean)


def test_policyqa(shared_data: Path):
    dataset = data.load(f"squad:{shared_data / 'policyqa' / 'dev.json'}")
    report = data.check(dataset)
    assert (report.documents, report.questions, report.groups, report.losses) == (574, 3809, 20, ())
    assert_sound(dataset)
    assert dataset.documents[0].id == "ticketmaster.com-1"
    assert all(set(document.metadata) == {"title", "index", "group"} for document in dataset.documents)  # no annotation labels
    assert all(example.metadata == {"title": example.metadata["title"], "group": example.metadata["title"]} for example in dataset.examples)
    assert report.exit_code == 1  # one policy is asked the same question about several paragraphs
    assert len(report.repeated_questions) > 400


def test_covid_qa(shared_data: Path):
    dataset = data.load(f"squad-article:{shared_data / 'covid-qa' / 'covidqa.cc-by.json'}")
    assert (len(dataset.documents), len(dataset.examples), dataset.losses) == (92, 1235, ())
    assert_sound(dataset)
    sizes = {name: len(part.examples) for name, part in data.split(dataset).items()}
    assert all(abs(size / 1235 - data.SHARES[name]) < 0.02 for name, size in sizes.items())


def test_scifact(shared_data: Path):
    dataset = data.load(f"beir:{shared_data / 'scifact'}")
    assert (len(dataset.documents), len(dataset.examples), dataset.losses) == (5183, 809, ())
    assert sum(len(example.evidence) for example in dataset.examples) == 919
    assert dataset.document_gold
    assert dataset.embed_title
    assert all(example.gains == () for example in dataset.examples)
    assert_sound(dataset)
