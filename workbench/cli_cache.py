"""The commands `workbench cache stats | prune | clear`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

cache_app = typer.Typer(no_args_is_help=True, help="Look at and clean the cache.")


@cache_app.command("stats")
def cache_stats() -> None:
    """Show rows and bytes by part."""
    rows = _cache().stats()
    for row in rows:
        typer.echo(f"{row['kind']:<10} {row['part']:<50} {row['rows']:>9} rows {row['bytes'] / 1e6:>9.1f} MB")
    if not rows:
        typer.echo("the cache is empty")


@cache_app.command("prune")
def cache_prune(days: Annotated[float, typer.Option(min=0, help="Remove rows older than so many days.")] = 90) -> None:
    """Remove old rows, files of vectors and stored indexes."""
    typer.echo(f"{_cache().prune(days)} rows removed, and the files as old")


@cache_app.command("clear")
def cache_clear() -> None:
    """Remove every row, file of vectors and stored index."""
    typer.echo(f"{_cache().clear()} rows removed, and all files")


def _cache() -> Any:
    from workbench.cache import Cache
    from workbench.storage import cache_file

    return Cache(cache_file())
