"""Parts by name, and every error message a wrong name or option gives."""

import sys
from pathlib import Path

import pytest

from workbench import registry
from workbench.datatypes import WorkbenchError


class Plain:
    """Take nothing."""


class Model:
    """Need an argument; take two knobs and what the workbench passes."""

    def __init__(self, argument: str, allow_download: bool = False, *, batch_size: int = 8, dtype: str = "float32") -> None:
        self.argument, self.allow_download, self.batch_size, self.dtype = argument, allow_download, batch_size, dtype


class Splitter:
    """Take an optional argument, and `size` from the workbench as a keyword."""

    def __init__(self, argument: str = "default", *, size: int, margin: int = 0) -> None:
        self.argument, self.size, self.margin = argument, size, margin


PARTS = {"plain": Plain, "st": Model, "splitter": Splitter, "lazy": "lazy_part_module:LazyPart"}


def create(spec: str, options: dict | None = None, **context: object) -> object:
    return registry.create("embedder", PARTS, spec, options or {}, **context)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [("st", ("st", None)), ("st:", ("st", "")), ("st:a/b", ("st", "a/b")), ("data:C:\\x.json", ("data", "C:\\x.json")), ("", ("", None))],
)
def test_spec_splits_at_the_first_colon(spec: str, parts: tuple[str, str | None]) -> None:
    assert registry.split_spec(spec) == parts


def test_part_gets_its_argument_options_and_only_the_context_it_knows() -> None:
    model = create("st:intfloat/e5", {"batch_size": 2}, allow_download=True, size=9)
    assert (model.argument, model.allow_download, model.batch_size, model.dtype) == ("intfloat/e5", True, 2, "float32")
    splitter = create("splitter", {"margin": 1}, size=64)
    assert (splitter.argument, splitter.size, splitter.margin) == ("default", 64, 1)
    assert create("splitter:other", size=64).argument == "other"
    assert isinstance(create("plain", size=64), Plain)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("sst:x", {}, "unknown embedder 'sst'; did you mean 'st'? (available: lazy, plain, splitter, st)"),
        ("plian", {}, "unknown embedder 'plian'; did you mean 'plain'? (available: lazy, plain, splitter, st)"),
        ("zzz", {}, "unknown embedder 'zzz' (available: lazy, plain, splitter, st)"),
        ("", {}, "unknown embedder '' (available: lazy, plain, splitter, st)"),
        ("PLAIN", {}, "unknown embedder 'PLAIN'; did you mean 'plain'? (available: lazy, plain, splitter, st)"),
        ("plain:x", {}, "embedder 'plain' takes no argument, got 'plain:x'"),
        ("plain:", {}, "embedder 'plain' takes no argument, got 'plain:'"),
        ("st", {}, "embedder 'st' needs an argument: st:NAME"),
        ("st:", {}, "embedder 'st' needs an argument: st:NAME"),
        ("plain", {"size": 1}, "embedder 'plain' has no options, got 'size'"),
        (
            "st:x",
            {"batchsize": 1},
            "unknown option of embedder 'st': 'batchsize'; did you mean 'batch_size'? (available: batch_size, dtype)",
        ),
        ("st:x", {"zzz": 1}, "unknown option of embedder 'st': 'zzz' (available: batch_size, dtype)"),
    ],
)
def test_d25_wrong_specs_raise_and_say_what_exists(spec: str, options: dict, message: str) -> None:
    with pytest.raises(WorkbenchError) as caught:
        create(spec, options)
    assert str(caught.value) == message


@pytest.mark.parametrize("option", ["argument", "allow_download"])
def test_options_reach_only_the_knobs(option: str) -> None:
    with pytest.raises(WorkbenchError, match=f"unknown option of embedder 'st': '{option}'"):
        create("st:x", {option: "y"}, allow_download=False)


def test_options_do_not_replace_what_the_workbench_passes() -> None:
    with pytest.raises(WorkbenchError, match=r"unknown option of embedder 'splitter': 'size' \(available: margin\)"):
        create("splitter", {"size": 1}, size=64)


def test_lazy_part_is_imported_when_used_and_not_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lazy_part_module.py").write_text("class LazyPart:\n    def __init__(self, *, depth=1):\n        self.depth = depth\n")
    monkeypatch.syspath_prepend(tmp_path)
    create("plain")
    with pytest.raises(WorkbenchError, match="unknown embedder"):
        create("lasy")
    assert "lazy_part_module" not in sys.modules
    part = create("lazy", {"depth": 3})
    assert (type(part).__name__, part.depth) == ("LazyPart", 3)
    assert sys.modules.pop("lazy_part_module").LazyPart is type(part)


def test_resolve_leaves_classes_alone() -> None:
    assert registry.resolve(Plain) is Plain
    assert registry.resolve("pathlib:Path") is Path


@pytest.mark.parametrize("blocked", [False, True], ids=["never installed", "blocked"])
def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, blocked: bool) -> None:
    package = "json" if blocked else "no_such_package_of_ours"
    if blocked:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(WorkbenchError) as caught:
        registry.require(package, "korean", "the tokeniser 'kiwi'")
    assert str(caught.value) == f"the tokeniser 'kiwi' needs the package {package!r}: pip install 'rag-workbench[korean]'"


def test_present_package_is_found_without_importing_it() -> None:
    assert "this" not in sys.modules
    registry.require("this", "korean", "a poem")
    assert "this" not in sys.modules
