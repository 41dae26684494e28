"""report.html stands alone, interprets nothing that came from elsewhere, and says everything without a script."""

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from factories import make_data, make_result, make_results

from workbench.evaluation import Check, RunResult
from workbench.report_html import render_html
from workbench.report_parts import gather
from workbench.report_winner import decide
from workbench.settings import parse_settings
from workbench.storage import parse_yaml

BUDGET = "evidence_recall@512t"
BAD = (
    '<script>alert(1)</script>" onerror="alert(1)\' & &lt; <img src=x onerror=alert(1)> </style></title>]]>--> 한글 🙂 \x00\x1b\u202e\ud800'
)
VOID = {"meta", "link", "wbr"}


class Page(HTMLParser):
    """Collect elements, their attributes and their texts, and check that they close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.outside: list[str] = []  # tables that do not scroll in a box of their own
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self, tag: str = "") -> str:
        return "".join(data for place, data in self.texts if place not in ("style", "script") and tag in ("", place))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(results: list[RunResult], title: str = "Chunk sizing", **arguments) -> Page:
    return Page(render_html(gather(results, title, **arguments)))


@pytest.fixture(scope="module")
def both() -> tuple[str, Page, list[RunResult]]:
    results = make_results() + make_results("demo-ko", "ko")
    failed = [{"point": {"chunk_size": 4096}, "error": "Traceback\n  /srv/me/x.py\nWorkbenchError: too large"}]
    text = render_html(gather(results, "Chunk sizing", "workbench sweep params/x.yaml", {"demo-en": results[4].config_id}, failed))
    return text, Page(text), results


def test_each_data_set_has_verdict_facts_tables_failures_and_audit(both: tuple[str, Page, list[RunResult]]) -> None:
    text, parsed, results = both
    words = parsed.text()
    for part in (
        "120 questions in 20 document groups: recursive · 128 tokens · hybrid:word scores highest",
        "Against the baseline recursive · 256 tokens · bm25:word: +0.",
        "Documents42",
        "Unanswerable24",
        "Measuring tokenizerintfloat/multilingual-e5-small",
        results[0].data["fingerprint"],
        "The two views disagree: recall@5 prefers",
        "How many days of paid leave does a new employee get?",
        "not retrieved",
        "first reached at rank 7",
        "few_clusters",
        "Use recursive · 128 tokens · hybrid:word",
        "Mend ",
        "workbench sweep params/x.yaml",
        "numpy 2.4.6",
        "chunk_size 4096",
        "WorkbenchError: too large",
        "Retrieval alone was tested",
    ):
        assert part in words, part
    assert len(parsed.all("table")) == 2 * 6 + 1
    assert len(parsed.all("svg")) == 2 * 6
    for result in results:
        assert result.config_id in words
        assert f"{result.interval(BUDGET).mean:.3f}" in words
        assert f"{result.interval('mrr@10').mean:.3f}" in words
    assert text.count("◆ best") == 2
    assert len([row for row in parsed.all("tr") if row.get("class") == "best"]) == 2


def test_korean_data_shows_characters_and_names_its_language(both: tuple[str, Page, list[RunResult]]) -> None:
    _, parsed, _ = both
    words = parsed.text()
    assert "Characters per token1.88" in words
    assert words.count("Characters per token") == 1  # not for the English data
    assert "512 tokens ≈ 960" in words
    assert {"lang": "ko"} in parsed.all("h4")
    assert {"lang": "en"} in parsed.all("h4")
    assert parsed.all("html") == [{"lang": "en"}]


def test_the_page_is_sound(both: tuple[str, Page, list[RunResult]]) -> None:
    _, parsed, _ = both
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = [name for drawing in parsed.all("svg") for name in drawing["aria-labelledby"].split()]
    assert set(wanted) <= set(ids)
    assert len(wanted) == 2 * len(parsed.all("svg"))
    assert {link["href"].removeprefix("#") for link in parsed.all("a")} <= set(ids)
    boxes = [box for box in parsed.all("div") if box.get("class") == "scroll"]
    assert len(boxes) == len(parsed.all("table"))
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)
    assert all(cell.get("scope") in ("col", "row", "colgroup") for cell in parsed.all("th"))


def test_nothing_is_loaded_and_only_our_script_and_style_may_run(both: tuple[str, Page, list[RunResult]]) -> None:
    text, parsed, _ = both
    addresses = [
        attributes[name] for _, attributes in parsed.elements for name in ("src", "href", "srcset", "action", "data") if name in attributes
    ]
    assert all(address.startswith(("#", "data:,")) for address in addresses)
    assert "url(" not in text.replace("url(data:font/woff;base64,", "")
    assert "@import" not in text
    assert not [name for _, attributes in parsed.elements for name in attributes if name == "style" or name.startswith("on")]
    policy = next(meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        assert len(parsed.all(tag)) == 1
        content = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'" in policy


def test_no_text_from_elsewhere_is_interpreted() -> None:
    failure = {
        "id": BAD,
        "question": BAD,
        "score": 0.1,
        "evidence": [{"document": BAD, "title": BAD, "text": BAD, "rank": 3}, {"document": BAD, "title": "", "text": BAD, "rank": None}],
        "hits": [{"rank": 1, "document": BAD, "score": 1.0, "text": BAD}],
    }
    plain = BAD.replace("\ud800", "")  # a setting is UTF-8 text, or it has no config id
    results = [
        make_result(
            {BUDGET: [0.0, 1.0, 0.5 + number / 10], "recall@5": [0.0, 1.0, 1.0]},
            dataset=plain,
            chunk_size=64 * (number + 1),
            filter=plain.replace("=", ""),
            options={"index": {plain: plain + str(number)}},
            data=make_data(BAD, "en", 3) | {"language": BAD, "fingerprint": BAD, "documents": BAD},
            details={"chunks": 9, "chunk_tokens_mean": 50.0, "embedder_precision": BAD},
            failures=(failure,),
            audit=(Check(BAD, "error", BAD), Check("truncated", "warning", BAD)),
            versions={BAD: BAD},
        )
        for number in range(2)
    ]
    failed = [{"point": BAD, "error": BAD + "\n" + BAD}, {"point": {BAD: BAD}, "error": BAD}]
    parsed = page(results, BAD, command=BAD, failed=failed)
    assert len(parsed.all("script")) == len(parsed.all("style")) == 1
    assert not parsed.all("img")
    known = {name for _, attributes in page(make_results()).elements for name in attributes} | {"open"}
    assert {name for _, attributes in parsed.elements for name in attributes} <= known
    shown = BAD.replace("\x00\x1b\u202e\ud800", "����")
    words = parsed.text()
    assert words.count(shown) > 20
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", words)
    assert shown in parsed.text("title")


def test_a_path_loses_its_folders_everywhere() -> None:
    place = "/srv/someone/secret project/questions.json"
    results = [
        make_result(
            {BUDGET: [0.0, 1.0]},
            dataset=f"squad:{place}",
            chunk_size=size,
            audit=(Check("unresolved", "warning", f"1 loss, first: {place} line 3"),),
        )
        for size in (64, 128)
    ]
    failed = [{"point": f"dataset squad:{place}", "error": f'File "{place}", line 1\nno such file: {place}'}]
    text = render_html(gather(results, f"Report of {place}", f"workbench sweep {place}", failed=failed))
    assert "/home" not in text
    assert "someone" not in text
    assert "squad:…/secret project/questions.json" in text or "squad:…/questions.json" in text


def test_an_audit_error_stands_before_the_verdict() -> None:
    results = make_results()
    results[3] = replace(results[3], audit=(Check("oracle", "error", "even a perfect ranking misses q7"), *results[3].audit[1:]))
    words = page(results + make_results("demo-ko", "ko")).text()
    assert "demo-en Audit error." in words
    assert "oracle (1 of 12 configurations): even a perfect ranking misses q7" in words
    assert words.index("Do not use these numbers") < words.index("No decision.") < words.index("All candidates")
    assert "11 of 12even a perfect ranking misses q7" in words
    assert "Audit error" not in page(make_results()).text()


def test_a_control_that_keeps_up_is_pointed_out() -> None:
    scores = np.random.default_rng(0).random(40)
    results = [make_result({BUDGET: scores}, chunk_size=64), make_result({BUDGET: scores}, chunker="whole")]
    assert "A control keeps up. whole document: meant to lose" in page(results).text()
    assert "keeps up. " not in page(make_results()).text()


def test_one_candidate_one_group_and_document_gold() -> None:
    words = page(make_results()[:1]).text()
    assert "One candidate: nothing to compare" in words
    assert "Fixed k beside" not in words
    assert "baseline" not in words[: words.index("How to read this")]
    alone = [make_result({"ndcg@10": [0.1, 0.4], "recall@5": [1.0, 0.0]}, ["a", "a"], chunk_size=size) for size in (64, 128)]
    words = page(alone).text()
    assert "One document group: no difference can be shown" in words
    assert "0.250 [unknown]" in words
    assert "Evidence found as the context grows" not in words  # whole-document gold has no budget recall


def test_unscored_questions_are_counted_and_refuse_the_verdict() -> None:
    results = make_results()[:3]
    results[1].scores[BUDGET][:4] = np.nan
    results[1].scores["recall@5"][:] = np.nan
    words = page(results).text()
    assert "No verdict: too many questions have no score" in words
    assert "3.3% of the questions are left out, because a candidate has no score for them." in words
    assert "unscored" in words
    for name in (BUDGET, "recall@5"):
        results[1].scores[name][:] = np.nan
    words = page(results).text()
    assert f"No comparison. {BUDGET}: no question was scored by every candidate" in words
    assert results[1].config_id in words


def test_the_yaml_of_the_best_gives_the_same_configuration(both: tuple[str, Page, list[RunResult]]) -> None:
    _, parsed, results = both
    blocks = [data for place, data in parsed.texts if place == "code" and data.startswith("dataset:")]
    chosen = [
        decide(members, baseline=base).recommended.config_id
        for members, base in ((results[:12], results[4].config_id), (results[12:], None))
    ]
    assert [parse_settings(parse_yaml(block, "report")).config_id for block in blocks] == chosen


def test_the_same_results_give_the_same_bytes_without_times() -> None:
    results = make_results(copies=2)
    timed = [replace(result, timings={"index": 123.456}, cache={"misses": 987654}) for result in results]
    assert render_html(gather(timed, "x")) == render_html(gather(results, "x"))


def test_only_failed_runs_still_give_a_report() -> None:
    words = page([], failed=[{"point": "a", "error": ""}]).text()
    assert "No run has a result." in words
    assert "no message" in words


def test_no_plotting_table_or_model_library_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from factories import make_results; from workbench.report_files import write_report;"
        f"from workbench.report_parts import gather; write_report(Path({str(tmp_path)!r}), gather(make_results()[:2], 'x'));"
        "print([name for name in ('matplotlib', 'pandas', 'torch', 'IPython', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
