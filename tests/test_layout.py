"""The shape of the package: import order, lazy heavy imports, file sizes, style."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "workbench"

# A module imports only modules above it; siblings of one layer ("data" and "data_tables") may import one another.
LAYERS = """
datatypes registry storage settings models text endpoint data tokens chunking embedding index retrieval reranking packing prompting shots
generation cache pipeline metrics judging stats diagnosis evaluation audit experiment notebook fonts report finetuning
ledger engine executors sweep bench feedback widgets cli
""".split()
STANDALONE = {"__init__", "__main__", "bootstrap", "bootstrap_browser"}  # run before anything is installed
HEAVY = (
    "torch",
    "transformers",
    "sentence_transformers",
    "faiss",
    "pandas",
    "matplotlib",
    "papermill",
    "ipywidgets",
    "kiwipiepy",
    "openai",
    "scipy",
    "sacrebleu",
    "gguf",
    "tokenizers",
    "safetensors",
    "regex",
    "onnxruntime",
    "peft",
    "anywidget",
    "openvino",
    "openvino_genai",
    "openvino_tokenizers",
    "nncf",
)
FORBIDDEN_NAMES = ("utils", "helpers", "base", "core", "common", "manager")
MAX_LINES = 300


def modules() -> list[Path]:
    return sorted(PACKAGE.glob("*.py"))


def layer(stem: str) -> str:
    """Name the layer of a module: itself, or what stands before the first underscore."""
    return stem if stem in LAYERS else stem.split("_")[0]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "workbench":
            if node.module == "workbench":
                found |= {alias.name for alias in node.names}
            else:
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("workbench.")}
    return found


def test_every_module_has_a_layer_and_imports_only_upwards():
    wrong = []
    for path in modules():
        if path.stem in STANDALONE:
            continue
        assert layer(path.stem) in LAYERS, f"{path.name} has no layer"
        place = LAYERS.index(layer(path.stem))
        wrong += [f"{path.stem} imports {name}" for name in imported(path) if name not in STANDALONE and LAYERS.index(layer(name)) > place]
    assert not wrong


def test_the_import_check_can_fail(tmp_path):
    bad = tmp_path / "storage.py"
    bad.write_text("from workbench import report\nfrom workbench.cli import main\nimport workbench.sweep\n")
    assert imported(bad) == {"report", "cli", "sweep"}


@pytest.mark.parametrize(
    "code",
    [
        "import workbench",
        "import workbench.experiment, workbench.report, workbench.report_html, workbench.sweep, workbench.cli",
        "import sys; sys.argv = ['workbench', '--help']\nfrom workbench.cli import main\ntry: main()\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported(code):
    probe = f"{code}\nimport sys\nprint('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_a_module_is_short_documented_and_well_named(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= MAX_LINES
    assert not set(path.stem.split("_")) & set(FORBIDDEN_NAMES)
    assert ast.get_docstring(tree), "no module docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_nothing_unsafe_or_swallowed(path):
    text = path.read_text(encoding="utf-8")
    patterns = [
        r"except\s+(Exception|BaseException)\b(?!.*\n\s+.*\n\s+raise)",
        r"except\s*:",
        r"suppress\(Exception",
        r"\bpickle\b\.",
        r"trust_remote_code\s*=\s*True",
        r"shell\s*=\s*True",
        r"(?<!literal_)\beval\(",
        r"\bexec\(",
        r"allow_pickle\s*=\s*True",
    ]
    assert not [pattern for pattern in patterns if re.search(pattern, text)]
    opened = [line for line in text.splitlines() if re.search(r"\.read_text\(\)|\.open\(\"r\"\)|[^.\w]open\([^)]*\"r\"[^b)]*\)", line)]
    assert not opened, "text files are opened with an encoding"


def test_ruff_is_satisfied():
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
