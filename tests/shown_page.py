"""Read a view as a browser would: its text, what is marked, what is folded away; and text that tries everything."""

import re
from html.parser import HTMLParser

from hypothesis import strategies as st

NASTY = "<script>alert(1)</script> \"quoted\" 'single' &amp; <img src=x onerror=y> \0\x07\x1b\r\u202eevil\u2066\u200b\ud800\U000e0041 가나"
TAGS = {"style", "div", "section", "pre", "span", "mark", "u", "b", "details", "summary", "table", "tr", "th", "td"}


class Page(HTMLParser):
    """Check that a view is well formed and harmless; collect its text, that of one tag, and what is folded away."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.labels: list[str] = []
        self.pieces: list[str] = []
        self.inside: dict[str, list[list[str]]] = {}
        self.feed(page)
        self.close()
        assert not self.open
        self.text = "".join(self.pieces)
        self.of = {tag: ["".join(pieces) for pieces in found] for tag, found in self.inside.items()}

    def handle_starttag(self, tag, attributes):
        assert tag in TAGS
        assert {name for name, _ in attributes} <= {"class", "style", "dir", "role", "aria-label", "aria-level", "open", "scope"}
        self.labels += [value for name, value in attributes if name == "aria-label"]
        self.open.append(tag)
        self.inside.setdefault(tag, []).append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.inside[tag][-1].append(data)
        if not {"summary", "style"} & set(self.open):
            self.pieces.append(data)


def columns(page: str) -> list[str]:
    return re.findall(r"<section.*?</section>", page, re.DOTALL)


texts = st.text(st.one_of(st.sampled_from("<>&\"' \n\r\t가나a1;#\0\u202e"), st.characters()), max_size=60)
