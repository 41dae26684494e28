"""A project of three documents, a tiny notebook and a sweep over it, for tests."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench import cli, storage
from workbench.sweep import Silent

PARAMETERS = """dataset: str = "folder:docs"  # documents and questions
chunker: str = "fixed"  # what varies
chunk_sizes: list[int] = [8, 16]  # tokens
chunk_overlap: int = 0
tokenizer: str = "simple"  # needs no model
embedder: str = "hash"
retriever: str = "dense"
primary: str = "auto"
note: str = ""  # free text
trouble: str = ""  # what goes wrong at the end
"""
RUN = """import os, sys, time
from pathlib import Path
from workbench import evaluation, experiment, storage
from workbench.settings import parse_settings
where, _, how = os.environ.get("TROUBLE", "").partition(":")
trouble = trouble or how * (where == chunker)
settings = parse_settings(dict(
    dataset=dataset, chunker=chunker, chunk_size=chunk_sizes[0], chunk_overlap=chunk_overlap, tokenizer=tokenizer, embedder=embedder,
    retriever=retriever, primary=primary))
results = experiment.grid(settings, chunk_size=chunk_sizes)
if trouble != "silent":
    evaluation.save_results(storage.run_folder("tiny") / "result.json", results)
print(Path.cwd(), Path.home(), sys.prefix, storage.run_folder("tiny"), os.environ.get("CANARY_API_KEY"))
"""
TROUBLE = """if trouble == "raise":
    raise ValueError(f"no luck with {os.environ.get('CANARY_API_KEY')} in {Path.cwd()}")
if trouble == "exit":
    sys.exit(0)
if trouble == "kill":
    os.kill(os.getpid(), 9)
if trouble == "memory":
    held = []
    while True:
        held.append(bytearray(20_000_000))
if trouble == "loop":
    while True:
        time.sleep(0.01)
if trouble == "flood":
    while True:
        print("x" * 10_000)
if trouble == "wait":
    Path(os.environ["MARK"]).write_text(str(os.getpid()))
    time.sleep(120)
"""
DOCUMENTS = {
    "kettle": "The kettle switches itself off when the water boils. Descale it with vinegar every second month. The cord is short.",
    "toaster": "The toaster has a tray for crumbs that slides out at the back. Never reach for bread with a fork while it is plugged in.",
    "dryer": "The hair dryer stops when it gets too hot and starts again after ten minutes. 젖은 손으로 만지지 마십시오.",
}
QUESTIONS = """id,question,answer,document,quote
q1,How do I remove lime from the kettle?,vinegar,kettle.md,Descale it with vinegar every second month.
q2,Where do the crumbs of the toaster go?,tray,toaster.md,The toaster has a tray for crumbs that slides out at the back.
q3,Why has my hair dryer stopped?,too hot,dryer.md,The hair dryer stops when it gets too hot and starts again after ten minutes.
q4,젖은 손으로 만져도 되나요?,아니요,dryer.md,젖은 손으로 만지지 마십시오.
"""
SPEC: dict[str, Any] = {"notebook": "tiny", "grid": {"chunker": ["fixed", "recursive"]}, "baseline": {"chunker": "fixed", "chunk_size": 8}}


def notebook(*sources: str, tags: tuple[str, ...] = ("parameters",)) -> str:
    cells = [
        {"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "execution_count": None, "outputs": [], "source": text}
        for number, text in enumerate(sources)
    ]
    cells[0]["metadata"] = {"tags": list(tags)}
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def make_project(folder: Path, spec: dict[str, Any] = SPEC) -> Path:
    """Write a project with a tiny notebook and three documents; return the spec's path."""
    for name, text in DOCUMENTS.items():
        storage.write_text(folder / "docs" / f"{name}.md", f"---\ngroup: {name}\n---\n# {name}\n\n{text}\n")
    storage.write_text(folder / "docs" / "questions.csv", QUESTIONS)
    storage.write_text(folder / "notebooks" / "tiny.ipynb", notebook(PARAMETERS, RUN, TROUBLE, "print('end')"))
    return write_spec(folder, spec)


def write_spec(folder: Path, spec: dict[str, Any], name: str = "tiny.sweep.yaml") -> Path:
    return storage.write_text(folder / "params" / name, yaml.safe_dump(spec))


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of every file below a folder, but for the cache."""
    files = (path for path in folder.rglob("*") if path.is_file() and "cache" not in path.parts)
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def enter_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project and stand in it, without models and with a cache of its own."""
    make_project(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WORKBENCH_HOME", str(folder))
    monkeypatch.setenv("WORKBENCH_MODELS", str(folder / "no-models"))
    monkeypatch.delenv("WORKBENCH_CACHE", raising=False)
    return folder


def run_cli(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    return int(end.value.code or 0)


class Told(Silent):
    """Keep what a sweep says."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def say(self, text: str) -> None:
        self.said.append(text)
