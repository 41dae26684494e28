"""The commands `workbench train generator | embedder`."""

import typer

train_app = typer.Typer(no_args_is_help=True, help="Fine-tune a generator or an embedder.")
