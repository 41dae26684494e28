"""The command `workbench explain`."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

WIDTH = 100


def explain(check: Annotated[str, typer.Argument(help="The id of a check; without it, all are listed.")] = "") -> None:
    """Explain a check of the audit, or list all.

    What it means, why it matters, what to do.
    """
    from workbench.audit_catalogue import EXPLANATIONS
    from workbench.registry import unknown

    if not check:
        for each in EXPLANATIONS.values():
            typer.echo(f"{each.id:<20} {', '.join(each.levels):<15}  {each.meaning}")
        typer.echo("\nmore about one: workbench explain CHECK")
        return
    if check not in EXPLANATIONS:
        raise unknown("check", check, EXPLANATIONS)
    known = EXPLANATIONS[check]
    typer.echo(f"{known.id} ({' or '.join(known.levels)})")
    for title, words in (("means", known.meaning), ("why", known.why), ("what to do", known.what_to_do)):
        typer.echo(textwrap.fill(words, WIDTH, initial_indent=f"  {title:<11}", subsequent_indent=" " * 13))
