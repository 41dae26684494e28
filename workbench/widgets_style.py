"""Draw untrusted text in static HTML: escaped, nothing invisible, folded where it is long; and the style sheet of the views side by side.

Colour is never the only sign: terms are `mark`, evidence is `u` and is named in words, roles of messages are labels. Where a viewer strips
the style sheet, the tags alone keep a view readable.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterable, Sequence

from workbench.widgets_language import words

SHOWN = 600  # characters of a text that stand open; the rest is one click away
LABEL = 120  # characters of a title or a label
SLACK = 100  # characters that are not worth a fold
TERM, EVIDENCE = 1, 2

WORDS = {
    "error": ("Error:", "오류:"),
    "folded": ("… {count:,} more characters", "… {count:,}자 더 보기"),
    "folded evidence": ("… {count:,} more characters, with evidence", "… {count:,}자 더 보기 (근거 포함)"),
}
say = words(WORDS)

_RUN = re.compile(rb"(.)\1*", re.DOTALL)  # of one flag

# JupyterLab's colours where they exist, else those of the browser's light or dark scheme
_LIGHT = "color-scheme: light; --term: rgba(230, 159, 0, .34); --evidence: #b34700; --edge: #b9c1c9; --soft: rgba(95, 107, 118, .09); "
_LIGHT += "--faint: #56616b; --system: #7a3e9d; --user: #0072b2; --assistant: #9a6200; --written: #00795c; --wrong: #c62828;"
_DARK = "color-scheme: dark; --term: rgba(230, 159, 0, .42); --evidence: #ff9d5c; --edge: #59636d; --soft: rgba(169, 180, 190, .12); "
_DARK += "--faint: #a9b4be; --system: #cfa0ea; --user: #6cc0f0; --assistant: #f0b860; --written: #4fd0ae; --wrong: #ff8a80;"
STYLE = f"""<style>
.workbench-view {{ {_LIGHT} background: var(--jp-layout-color0, Canvas); color: var(--jp-content-font-color1, CanvasText);
  padding: 8px 12px; font: 14px/1.5 var(--jp-ui-font-family, system-ui, sans-serif); }}
@media (prefers-color-scheme: dark) {{ .workbench-view {{ {_DARK} }} }}
[data-jp-theme-light="true"] .workbench-view {{ {_LIGHT} }}
[data-jp-theme-light="false"] .workbench-view {{ {_DARK} }}
.workbench-view .columns {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 12px;
  align-items: start; margin-top: 12px; }}
.workbench-view section {{ border: 1px solid var(--edge); border-radius: 6px; padding: 10px 12px; min-width: 0; }}
.workbench-view .name {{ font-weight: 700; font-size: 15px; }}
.workbench-view :is(.row, .name) {{ overflow-wrap: anywhere; }}
.workbench-view .row pre {{ display: inline; }}
.workbench-view .faint {{ color: var(--faint); font-size: 13px; }}
.workbench-view .item {{ border-top: 1px solid var(--edge); margin-top: 8px; padding-top: 8px; }}
.workbench-view .box {{ border-left: 4px solid var(--edge); background: var(--soft); padding: 6px 10px; margin-top: 8px;
  border-radius: 3px; }}
.workbench-view .role {{ font-weight: 700; }}
.workbench-view .system {{ border-color: var(--system); }} .workbench-view .system .role {{ color: var(--system); }}
.workbench-view .user {{ border-color: var(--user); }} .workbench-view .user .role {{ color: var(--user); }}
.workbench-view .assistant {{ border-color: var(--assistant); }} .workbench-view .assistant .role {{ color: var(--assistant); }}
.workbench-view .written {{ border-color: var(--written); border-left-style: double; }}
.workbench-view .written .role {{ color: var(--written); }}
.workbench-view .wrong {{ border-color: var(--wrong); }} .workbench-view .wrong .role {{ color: var(--wrong); }}
.workbench-view .badge {{ border: 1px solid currentColor; border-radius: 9px; padding: 0 7px; font-size: 12px; white-space: nowrap; }}
.workbench-view .found {{ color: var(--evidence); font-weight: 600; }}
.workbench-view .limit {{ border-top: 3px double var(--evidence); margin-top: 12px; padding-top: 4px; font-size: 13px; font-weight: 600;
  color: var(--evidence); }}
.workbench-view .past {{ border-left: 3px dotted var(--edge); padding-left: 8px; }}
.workbench-view :is(pre, pre[dir]) {{ margin: 2px 0 0; white-space: pre-wrap; overflow-wrap: anywhere; word-break: keep-all;
  background: none; color: inherit; font: inherit; padding: 0; }}
.workbench-view mark {{ background: var(--term); color: inherit; padding: 1px 0; border-radius: 2px; }}
.workbench-view u {{ text-decoration: underline 2px var(--evidence); text-underline-offset: 4px; }}
.workbench-view details {{ margin: 2px 0; }}
.workbench-view .row > details {{ display: inline; }}
.workbench-view summary {{ cursor: pointer; color: var(--faint); font-size: 13px; }}
.workbench-view svg.map {{ display: block; width: 100%; max-width: 480px; margin: 8px 0 2px; border: 1px solid var(--edge);
  border-radius: 4px; overflow: hidden; }}
.workbench-view .map .other {{ fill: var(--faint); opacity: .55; }}
.workbench-view .map .hit {{ fill: var(--user); stroke: var(--jp-layout-color0, Canvas); }}
.workbench-view .map .missed {{ fill: none; stroke: var(--evidence); stroke-width: 2; }}
.workbench-view .map .reached {{ fill: var(--evidence); stroke: var(--jp-layout-color0, Canvas); }}
.workbench-view .map .question {{ fill: var(--written); stroke: var(--jp-layout-color0, Canvas); }}
.workbench-view .map text {{ fill: var(--jp-layout-color0, Canvas); font: 700 9px/1 var(--jp-ui-font-family, system-ui, sans-serif);
  text-anchor: middle; pointer-events: none; }}
.workbench-view table {{ border-collapse: collapse; margin: 6px 0 0; font-size: 13px; }}
.workbench-view :is(th, td) {{ text-align: left; vertical-align: top; padding: 1px 12px 1px 0; border: 0; background: none;
  white-space: normal; }}
.workbench-view th {{ font-weight: 600; color: var(--faint); }}
</style>"""

# Characters that show nothing or turn the text around them; line breaks, tabs, soft hyphens and the joiners of emoji stay.
_UNSEEN = re.compile(
    r"[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    """Replace each character that shows nothing or reorders what is shown by one that is seen: "␀" for NUL, "�" for a bidi control."""
    return _UNSEEN.sub(lambda found: chr(0x2400 + ord(found[0])) if found[0] < " " else "�", text)


def escape(text: str) -> str:
    """Return text for HTML and for attributes in double quotes."""
    return html.escape(visible(text))


def brief(text: str, limit: int = LABEL) -> str:
    """Return the start of a text as plain, visible text, for places that cannot hold HTML."""
    text = visible(" ".join(text[: 4 * limit].split()))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def folded(
    text: str, head: int = SHOWN, tail: int = 0, terms: Iterable[tuple[int, int]] = (), evidence: Iterable[tuple[int, int]] = ()
) -> str:
    """Return HTML that shows about `head` characters and `tail` at the end, and what lies between in a `details` element.

    Texts of at most SLACK characters more stand open. Every character stands once and in order outside `summary`.
    `terms` and `evidence` are ranges of characters: terms are `mark`, evidence is `u`; a fold that holds evidence is open.
    """
    flags = bytearray(len(text))
    for ranges, flag in ((terms, TERM), (evidence, EVIDENCE)):
        for start, end in ranges:
            for at in range(max(0, start), min(end, len(text))):
                flags[at] |= flag
    if len(text) <= head + tail + SLACK:
        return _pre(_marked(text, flags, 0, len(text)))
    first, last = _gap(text, head), _gap(text, len(text) - tail) if tail else len(text)
    inside = flags[first:last]
    holds_evidence = any(flag & EVIDENCE for flag in inside)
    summary = say("folded evidence" if holds_evidence else "folded", count=last - first)
    middle = f"<details{' open' * holds_evidence}><summary>{summary}</summary>{_pre(_marked(text, flags, first, last))}</details>"
    return _pre(_marked(text, flags, 0, first)) + middle + (_pre(_marked(text, flags, last, len(text))) if tail else "")


def _gap(text: str, limit: int) -> int:
    """Return where to cut near `limit`: after the last white space before it, where there is one."""
    start = max(0, limit - SLACK)
    return next((at for at in range(limit, start, -1) if text[at - 1].isspace()), limit)


def _pre(inner: str) -> str:
    """Keep line breaks, also where a viewer strips the style sheet; the span keeps a line break that comes first."""
    return f'<pre dir="auto" style="white-space: pre-wrap; overflow-wrap: anywhere"><span>{inner}</span></pre>'


def _marked(text: str, flags: bytearray, start: int, end: int) -> str:
    parts = []
    for is_evidence, runs in itertools.groupby(_RUN.finditer(flags, start, end), key=lambda run: run[0][0] & EVIDENCE):
        inner = []
        for run in runs:
            piece = escape(text[run.start() : run.end()])
            inner.append(f"<mark>{piece}</mark>" if run[0][0] & TERM else piece)
        parts.append(f"<u>{''.join(inner)}</u>" if is_evidence else "".join(inner))
    return "".join(parts)


def labelled(label: str, text: str, limit: int = LABEL) -> str:
    """Return one line of a label and a text, which is folded after `limit` characters."""
    return f'<div class="row"><b>{escape(brief(label))}</b> {folded(text, limit)}</div>'


def column(label: str, inner: str) -> str:
    """Return one of the columns of a view, headed by an untrusted label."""
    heading = f'<div class="name" role="heading" aria-level="4">{folded(label, LABEL)}</div>'
    return f'<section aria-label="{escape(brief(label))}">{heading}{inner}</section>'


def page(head: str, columns: Sequence[str]) -> str:
    """Return a whole view: its head, then its columns side by side where there is room."""
    return f'{STYLE}<div class="workbench-view">{head}<div class="columns">{"".join(columns)}</div></div>'


def error_box(message: str) -> str:
    """Return a red box with an escaped message."""
    style = "border: 2px solid #c62828; border-left-width: 8px; padding: 8px 12px"
    return f'<div class="workbench-error" role="alert" style="{style}"><b>{say("error")}</b> {html.escape(message)}</div>'


def plural(number: int, noun: str) -> str:
    """Return "1 token", "2 tokens"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
