"""The commands `workbench models list | pull | show | clean`."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench import cli_options as options

models_app = typer.Typer(no_args_is_help=True, help="List, fetch and describe models.")


@models_app.command("list")
def models_list() -> None:
    """List the known models and whether they are here, and those trained here."""
    from workbench import models, models_trained

    for name, entry in models.catalogue().items():
        here = "here" if models.stored(name) else "-"
        size = f"{entry.size_mb:>5} MB"
        typer.echo(f"{entry.kind:<9} {name:<46} {here:<5} {entry.precision:<14} {size}  {entry.licence:<18} {', '.join(entry.languages)}")
    for name in models_trained.names():
        typer.echo(f"{'trained':<9} {name:<46} {models_trained.describe(name)}")


@models_app.command("pull")
def models_pull(names: Annotated[list[str], typer.Argument(help="Hub ids.")], allow_download: options.AllowDownload = False) -> None:
    """Fetch models once into the model store; checksums are verified."""
    from workbench import models

    known = models.catalogue()
    for name in names:
        if not models.stored(name):
            typer.echo(f"fetching {name}")
        if name in known and known[name].notice:
            typer.echo(known[name].notice)
        model = models.pull(name, allow_download=allow_download)
        typer.echo(f"{model.name}: {model.precision}, {model.licence}, sha256 {model.fingerprint[:16]}")


@models_app.command("show")
def models_show(name: str) -> None:
    """Describe a stored model and verify every file's checksum."""
    from workbench import models

    model = models.verify(name)
    prefixes = models.prefixes(model) if model.kind == "embedder" else {}
    for label, value in (
        ("name", model.name),
        ("kind", model.kind),
        ("precision", model.precision),
        ("languages", ", ".join(model.languages)),
        ("max length", f"{model.max_length} tokens"),
        ("prefixes", ", ".join(f"{role} {prefix!r}" for role, prefix in prefixes.items()) or "none"),
        ("licence", model.licence),
        *(("notice", entry.notice) for entry in (models.catalogue().get(name),) if entry and entry.notice),
        ("sha256", model.fingerprint),
        ("folder", model.path),
        *((("adapter", model.adapter),) if model.adapter else ()),
    ):
        typer.echo(f"{label:<12} {value}")


@models_app.command("clean")
def models_clean() -> None:
    """Remove the graphs that `openvino:` parts keep of models; the models stay, and the next use makes what it needs again."""
    from workbench import models_openvino

    typer.echo(f"{models_openvino.remove_graphs() / 1e6:,.0f} MB of OpenVINO graphs removed")
