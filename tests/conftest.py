"""Fixtures shared by the tests."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import KEY, FakeServer
from small_corpus import write_corpus
from small_sweep import enter_project, run_cli

ROOT = Path(__file__).resolve().parent.parent
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):  # they share the cores: none waits for threads of another
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # and waiting threads must not spin
os.environ.setdefault("WORKBENCH_LANG", "en")  # of interfaces, whatever the locale
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes import the package: one compiles it
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs deaf to Ctrl-C, and programs inherit that


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="Run the tests marked full_size in full size: minutes to hours.")


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Tell whether tests run in full size."""
    return bool(request.config.getoption("--full"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the notebooks first: they take longest, and the other process takes over what is left (--dist worksteal)."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of real data sets (WORKBENCH_SHARED_DATA, else ../shared/data), or skip."""
    folder = Path(os.environ.get("WORKBENCH_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data sets are not here: {folder} (set WORKBENCH_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the path of one cache file for the whole session and all its processes, so that real models embed a text once."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "shared-cache.sqlite"


@pytest.fixture
def shared_cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make experiments use the session's cache instead of the project's."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(session_cache))
    return session_cache


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make experiments use a new, empty cache."""
    path = tmp_path / "own-cache.sqlite"
    monkeypatch.setenv("WORKBENCH_CACHE", str(path))
    return path


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Give a function from a language (en, ko) to the spec of a folder with 12 short documents and 24 questions."""
    folders: dict[str, str] = {}

    def spec(language: str) -> str:
        if language not in folders:
            folders[language] = f"folder:{write_corpus(tmp_path_factory.mktemp(language), language)}"
        return folders[language]

    return spec


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a project with three documents, four questions, no model and no cache."""
    return enter_project(tmp_path, monkeypatch)


@pytest.fixture
def run(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Give a function that runs a command of the command line in this process: exit code, stdout, stderr."""
    return lambda *arguments: (run_cli(*arguments), *capsys.readouterr())


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no time pass between attempts; give the seconds that would have."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[FakeServer]:
    """Give an OpenAI-compatible server on this machine that the environment names."""
    with FakeServer() as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield fake


@pytest.fixture
def stored_models() -> None:
    """Skip unless the two default embedding models are in the store."""
    from workbench import models
    from workbench.experiment_build import DEFAULT_EMBEDDERS

    for spec in DEFAULT_EMBEDDERS.values():
        name = spec.partition(":")[2]
        if not models.stored(name):
            pytest.skip(f"run: workbench models pull {name}")
