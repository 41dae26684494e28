"""Build the audit of report.html: each check with its level, meaning and worst case, and the explanations they link to."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from workbench.audit_catalogue import EXPLANATIONS
from workbench.evaluation import Check, RunResult
from workbench.report_svg import own
from workbench.report_tables import LEVELS, SIGNS, table


def audit(results: Sequence[RunResult]) -> str:
    """Return each check with its worst level, in how many results it was ok, and what was seen at worst; errors first.

    A check links to its explanation, which `explanations_html` puts on the page, once.
    """
    found: dict[str, list[Check]] = {}
    for result in results:
        for check in result.audit:
            found.setdefault(check.id, []).append(check)
    if not found:
        return "<h3>Audit</h3><p>No check was recorded.</p>"
    worst = [(max(checks, key=lambda check: LEVELS.index(check.level)), checks) for checks in found.values()]
    lines = []
    for check, checks in sorted(worst, key=lambda item: -LEVELS.index(item[0].level)):
        known = EXPLANATIONS.get(check.id)
        name = f'<a href="#check-{own(check.id)}">{own(check.id)}</a>' if known else own(check.id)
        cells = [
            f'<th scope="row">{name}</th>',
            f'<td class="sign level-{check.level}">{SIGNS[check.level]} {check.level}</td>',
            f'<td class="words">{own(known.meaning if known else "–")}</td>',
            f'<td class="whole">{sum(other.level == "ok" for other in checks)} of {len(checks)}</td>',
            f'<td class="words">{own(check.message)}</td>',
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f'<th scope="col">{words}</th>' for words in ("check", "worst", "means", "ok", "what was seen at worst"))
    return "<h3>Audit</h3>" + table("", f"<tr>{head}</tr>", lines, "Audit")


def explanations_html(ids: Collection[str]) -> str:
    """Return the explanations of these checks as a list to unfold, in the order of the catalogue; "" where none is known.

    It belongs on a page once: each term has the id that `audit` links to.
    """
    blocks = []
    for known in EXPLANATIONS.values():
        if known.id in ids:
            blocks.append(f'<dt id="check-{own(known.id)}">{own(known.id)} <span class="soft">{own(" or ".join(known.levels))}</span></dt>')
            blocks.append(
                f"<dd>{own(known.meaning[0].upper() + known.meaning[1:])}. {own(known.why)} <em>{own(known.what_to_do)}</em></dd>"
            )
    return f"<details><summary>What the checks mean</summary><dl>{''.join(blocks)}</dl></details>" if blocks else ""
