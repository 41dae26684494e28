"""The audit of report.html: errors first, each check with its meaning and a link to its explanation; text is escaped."""

import re
from html.parser import HTMLParser

from factories import make_result

from workbench.audit_catalogue import EXPLANATIONS
from workbench.evaluation import Check
from workbench.report_audit import audit, explanations_html


class Page(HTMLParser):
    """Collect ids, link targets, rows of cells, and check that tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.rows, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.open.append(tag)
        known = dict(attributes)
        self.ids += [known["id"]] if "id" in known else []
        self.links += [known["href"]] if tag == "a" else []
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def results() -> list:
    fine = (Check("oracle", "ok", "fine"), Check("truncated", "ok", "0.0% cut"), Check("roles", "ok", "as it should be"))
    cut = (Check("oracle", "ok", "fine"), Check("truncated", "warning", "<b>9 %</b> cut"), Check("roles", "warning", "others"))
    bad = (*cut[:2], Check("roles", "error", "queries as passages, /srv/models/x"), Check("made_up", "ok", "from elsewhere"))
    return [make_result({"hit@1": [1, 0]}, audit=checks) for checks in (fine, cut, bad)]


def test_checks_stand_worst_first_with_meaning_counts_and_what_was_seen() -> None:
    page = Page(audit(results()))
    assert page.rows == [
        ["check", "worst", "means", "ok", "what was seen at worst"],
        ["roles", "✕ error", EXPLANATIONS["roles"].meaning, "1 of 3", "queries as passages, …/x"],
        ["truncated", "! warning", EXPLANATIONS["truncated"].meaning, "1 of 3", "<b>9 %</b> cut"],
        ["oracle", "✓ ok", EXPLANATIONS["oracle"].meaning, "3 of 3", "fine"],
        ["made_up", "✓ ok", "–", "1 of 1", "from elsewhere"],
    ]


def test_links_lead_to_the_explanations_each_there_once() -> None:
    shown = audit(results())
    ids = {check.id for result in results() for check in result.audit}
    page = Page(shown + explanations_html(ids))
    assert sorted(page.links) == ["#check-oracle", "#check-roles", "#check-truncated"]
    assert sorted(page.ids) == ["check-oracle", "check-roles", "check-truncated"]


def test_all_explanations_are_shown_in_full() -> None:
    text = re.sub("<[^>]*>", "", explanations_html(EXPLANATIONS)).replace("&#x27;", "'").replace("&quot;", '"')
    for known in EXPLANATIONS.values():
        assert known.meaning[1:] in text
        assert known.why in text
        assert known.what_to_do in text


def test_without_checks_it_says_so() -> None:
    assert "No check was recorded." in audit([make_result({"hit@1": [1, 0]}, audit=())])
    assert explanations_html(()) == explanations_html(["made_up"]) == ""
