"""The two READMEs say the same, and what they name exists: links, commands, options, knobs and the specs of parts (D4)."""

import importlib
import inspect
import json
import math
import re
from collections import Counter
from functools import cache
from pathlib import Path

import made_onnx
import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from workbench import cli, data, registry, storage
from workbench.chunking import CHUNKERS, create_chunker
from workbench.datatypes import Chunk, Conversation, Document, Example, Passage, Span
from workbench.embedding import EMBEDDERS, HashEmbedder, create_embedder
from workbench.generation import GENERATORS, create_generator
from workbench.index import INDEXES, create_index
from workbench.metrics import ANSWER_METRICS
from workbench.models_catalogue import CATALOGUE
from workbench.pipeline_rules import apply_rules, load_rules
from workbench.prompting import FOLDER, LANGUAGES, PROMPTS, STEPS, load_prompt
from workbench.prompting_template import FORMATS, OPTIONAL, SAMPLE
from workbench.reranking import RERANKERS, create_reranker, split_options
from workbench.retrieval import RETRIEVERS, create_retriever
from workbench.settings import CLOSED_BOOK, HEADERS, SHOT_SELECTIONS, SPLITS
from workbench.sweep_spec import plan
from workbench.tokens import SimpleTokenizer

ROOT = Path(__file__).resolve().parent.parent
ENGLISH, KOREAN = "README.md", "README.ko.md"
FENCE = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PARTS = {
    "chunker": CHUNKERS,
    "embedder": EMBEDDERS,
    "index": INDEXES,
    "retriever": RETRIEVERS,
    "reranker": RERANKERS,
    "prompt": (*PROMPTS, CLOSED_BOOK, "file"),  # templates, the only parts that are no classes
    "generator": GENERATORS,
    "dataset": data.DATASETS,
}
TEXT = "Unused leave lapses in March. 쓰지 않은 연차는 3월에 소멸한다."


@cache
def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def prose(name: str) -> str:
    return FENCE.sub("", read(name))


def commands(name: str) -> list[list[str]]:
    """Return the lines of each code block without comments."""
    return [[re.split(r"\s+#", line)[0].rstrip() for line in block.splitlines()] for block in FENCE.findall(read(name))]


def inline_code(name: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(name))


def links(name: str) -> Counter[str]:
    """Count the targets of links, images apart and without the other README."""
    return Counter(target for target in re.findall(r"(?<!!)\[[^\]]+\]\(([^)]+)\)", prose(name)) if target not in (ENGLISH, KOREAN))


def images(name: str) -> list[str]:
    return re.findall(r"!\[[^\]]+\]\(([^)]+)\)", prose(name))


def snippets() -> list[str]:
    """Return everything the English README sets as code: the lines of the blocks, and what stands inside sentences."""
    return [line for block in commands(ENGLISH) for line in block] + inline_code(ENGLISH)


# --- two languages, one content -------------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_structure() -> None:
    levels, tables = [], []
    for name in (ENGLISH, KOREAN):
        levels.append([len(marks) for marks in re.findall(r"^(#+) ", prose(name), re.MULTILINE)])
        tables.append(
            [[line.count("|") for line in table.splitlines()] for table in re.findall(r"(?:^\|.*\n)+", prose(name), re.MULTILINE)]
        )
    assert levels[0] == levels[1]
    assert levels[0].count(1) == 1
    assert len(levels[0]) > 5
    assert tables[0] == tables[1]
    assert len(tables[0]) == 7


def test_both_languages_have_the_same_code() -> None:
    assert commands(ENGLISH) == commands(KOREAN)
    assert len(commands(ENGLISH)) > 3
    assert set(inline_code(ENGLISH)) == set(inline_code(KOREAN))


def test_both_languages_have_the_same_links_and_images() -> None:
    assert images(ENGLISH) == images(KOREAN) != []
    assert links(ENGLISH) == links(KOREAN)
    assert f"]({KOREAN})" in read(ENGLISH)
    assert read(KOREAN).startswith(f"*[English]({ENGLISH})*\n")


@pytest.mark.parametrize("name", [ENGLISH, KOREAN])
def test_what_is_linked_or_named_in_a_command_exists(name: str) -> None:
    targets = [target.partition("#")[0] for target in (*links(name), *images(name)) if "://" not in target]
    targets += re.findall(r"\b(?:notebooks|params)/[\w./]+\.\w+", "\n".join(line for block in commands(name) for line in block))
    assert {path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("notebooks/0*.ipynb"), *ROOT.glob("params/0*"))} <= set(targets)
    assert [target for target in targets if not (ROOT / target).is_file()] == []


# --- commands and options ---------------------------------------------------------------------------------------------------------------


@cache
def help_of(*command: str) -> str:
    result = CliRunner().invoke(cli.app, [*command, "--help"])
    assert result.exit_code == 0, f"there is no command {' '.join(command)}: {result.output}"
    return result.output


OWNERS = (["evaluate"], ["train", "generator"], ["power"], ["gate"], ["judge"], ["sweep", "run"])


def calls() -> list[list[str]]:
    """Return the words of each call of the command line; options on their own are those of the first of OWNERS that has them."""
    alone = [text.split() for text in snippets() if re.match("--[a-z]", text)]  # "---" is no option
    found = [[*next((owner for owner in OWNERS if f"  {words[0]} " in help_of(*owner)), OWNERS[0]), *words] for words in alone]
    return found + [match[1].split() for text in snippets() if (match := re.match(r"(?:python -m )?workbench (.+)", text))]


@pytest.mark.parametrize("words", calls(), ids=" ".join)
def test_commands_and_options_exist(words: list[str]) -> None:
    command: tuple[str, ...] = ()
    while "\nCommands:" in help_of(*command):
        known = re.findall(r"^  ([a-z]+)\b", help_of(*command).partition("\nCommands:")[2], re.MULTILINE)
        if command == ("sweep",) and words[1] not in known:
            words = ["sweep", "run", *words[1:]]  # a spec is run
        assert words[len(command)] in known
        command = (*command, words[len(command)])
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", help_of(*command), re.MULTILINE)
    assert [word for word in words if word.startswith("--") and word not in options] == []


def test_calls_are_found_and_make_has_the_targets() -> None:
    assert {"evaluate", "ask", "sweep", "data", "models", "train", "demo", "test"} <= {words[0] for words in calls()}
    targets = re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {match[1] for text in snippets() if (match := re.match(r"make ([\w-]+)", text))}
    assert {"demo", "test", "test-slow", "lab"} <= named <= set(" ".join(targets).split())


# --- parts ------------------------------------------------------------------------------------------------------------------------------


def documented() -> list[tuple[str, str]]:
    """Return (kind, spec) for each spec: the alternatives after an option, and name:argument anywhere."""
    found = dict.fromkeys(
        (kind, spec) for text in snippets() for kind in PARTS for specs in re.findall(rf"--{kind} (\S+)", text) for spec in specs.split("|")
    )
    for text in inline_code(ENGLISH):
        if re.fullmatch(r"[a-z][a-z0-9-]*:(?!//)[\w./-]+", text):
            kinds = [kind for kind, parts in PARTS.items() if text.partition(":")[0] in parts]
            found |= dict.fromkeys((kind, text) for kind in kinds or ["part"])
    return list(found)


def example(start: str) -> str:
    """Return the one code block of the English README that starts like this, with its comments."""
    (block,) = (block for block in FENCE.findall(read(ENGLISH)) if block.startswith(start))
    return block


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """Write one small data set in each format, model folders and the README's template; give the argument for each name of a part."""
    table = data.write_template(tmp_path / "folder") / "questions.csv"
    paragraph = {"context": TEXT, "qas": [{"id": "q", "question": "Until when?", "answers": [{"text": "March", "answer_start": 23}]}]}
    squad = storage.write_text(tmp_path / "squad.json", json.dumps({"data": [{"title": "Leave", "paragraphs": [paragraph]}]}))
    question = {"id": "q", "question": "Until when?", "answers": ["March"], "evidence": [[{"document_id": "d", "quote": "in March"}]]}
    for path, record in (
        ("jsonl/documents.jsonl", {"id": "d", "text": TEXT}),
        ("jsonl/questions.jsonl", question),
        ("beir/corpus.jsonl", {"_id": "d", "text": TEXT}),
        ("beir/queries.jsonl", {"_id": "q", "text": "Until when?"}),
    ):
        storage.write_text(tmp_path / path, json.dumps(record) + "\n")
    storage.write_text(tmp_path / "beir/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\td\t1\n")
    sizes = dict.fromkeys(("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"), 2)
    decoder = {"model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 64, **sizes}
    for name, architecture, stated in (("st", "BertModel", {}), ("hf", "LlamaForCausalLM", decoder)):
        storage.write_text(tmp_path / name / "config.json", json.dumps({"architectures": [architecture], **stated}))
        save_file({"weight": np.zeros((2, 2), np.float32)}, tmp_path / name / "model.safetensors")
    (tmp_path / "st/model.onnx").write_bytes(made_onnx.embedder_graph())
    template = storage.write_text(tmp_path / "prompt.md", example("---\n"))
    files = {name: tmp_path / name for name in ("folder", "jsonl", "beir", "st", "hf")}
    files |= {"onnx": tmp_path / "st", "cross-encoder": made_onnx.save_reranker(tmp_path / "reranker")}
    return files | {"table": table, "squad": squad, "squad-article": squad, "file": template, "openai": Path("some-model")}


@pytest.mark.parametrize(("kind", "spec"), documented())
def test_d4_every_documented_spec_builds_a_part_that_works(
    kind: str, spec: str, sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    chunks = [Chunk(Span("d", start, end), TEXT[start:end]) for start, end in ((0, 29), (30, len(TEXT)))]
    passages = (Passage(Span("d", 0, len(TEXT)), TEXT),)
    name = spec.partition(":")[0]
    sources["openvino"] = sources["hf" if kind == "generator" else "st"]
    filled = f"{name}:{sources[name]}" if name in sources else spec
    if kind == "chunker":
        found = create_chunker(spec, SimpleTokenizer(), 4, 0).chunk(Document("d", TEXT))
    elif kind == "index":
        found = create_index(spec, np.eye(2, dtype=np.float32), ["a", "b"]).search(np.eye(2, dtype=np.float32), 1)
    elif kind == "retriever":
        context = {"embedder": HashEmbedder(), "index": "exact", "index_options": {}, "filter": "", "seed": 0}
        (found,) = create_retriever(spec, chunks, False, **context).retrieve([Example("q", "leave 연차")], 2)
    elif kind == "prompt":
        prompt = load_prompt(filled, "en")
        found = [step.render("Until when?", passages).messages[-1].content for step in (prompt.before or prompt, prompt)]
        assert any(TEXT in text for text in found) == (name != CLOSED_BOOK)
    elif kind == "generator":
        generator = create_generator(filled)
        asked = [] if name in sources else [Conversation((), "Unused leave?", passages)]  # others need a model
        found = [generator.fingerprint["name"], *(completion.text for completion in generator.generate(asked))]
    elif kind == "reranker":
        found = create_reranker(filled).score([("q", "a b")]).tolist()
    elif kind == "embedder":
        found = create_embedder(filled).fingerprint["name"]
    else:
        assert kind == "dataset", f"no part is called {name}"
        found = data.load(filled).examples
    assert set(map(bool, found)) == {True}  # something, and nothing of it empty


def test_d4_specs_are_found_for_every_kind_of_part() -> None:
    counts = Counter(kind for kind, _ in documented())
    assert {kind: counts[kind] >= 3 for kind in PARTS} == dict.fromkeys(PARTS, True)
    assert {("retriever", "bm25:kiwi"), ("embedder", "st:MODEL"), ("dataset", "squad-article:FILE")} <= set(documented())
    assert {("prompt", "plain:ko"), ("prompt", "file:my-prompt.md")} <= set(documented())
    for kind in ("embedder", "reranker", "prompt", "generator"):
        assert {spec.partition(":")[0] for found, spec in documented() if found == kind} == set(PARTS[kind])


def test_documented_headers_and_knobs_exist() -> None:
    for option, values in {"header": HEADERS, "split": SPLITS, "shot-selection": SHOT_SELECTIONS}.items():
        named = re.findall(rf"--{option} (\S+)", "\n".join(snippets()))
        assert {value for texts in named for value in texts.split("|")} | {"auto"} == {*values, "auto"}
    knobs = re.findall(r"--set (\w+)\.(\w+)=", "\n".join(snippets()))
    assert len(knobs) > 1
    for kind, knob in knobs:
        signatures = [inspect.signature(registry.resolve(part)).parameters for part in PARTS[kind].values()]
        depth = kind == "reranker" and not split_options({knob: 1})[1]  # of the retriever around any reranker
        assert depth or any(knob in names and names[knob].kind is inspect.Parameter.KEYWORD_ONLY for names in signatures), f"{kind}.{knob}"


def test_the_table_of_parts_names_the_dicts_and_methods() -> None:
    rows = re.findall(r"^\| [a-z ]+ \| \[workbench/(\w+)\.py\]\(\S+\) `(\w+)` \| (.*) \|$", read(ENGLISH), re.MULTILINE)
    assert len(rows) == len(PARTS)
    for module, name, cell in rows:
        parts = getattr(importlib.import_module(f"workbench.{module}"), name)
        methods = re.findall(r"`(\w+)[(`]", cell)
        if parts == PROMPTS:
            assert methods == []
            assert [path for name in PROMPTS for path in (FOLDER / f"{name}.{code}.md" for code in LANGUAGES) if not path.is_file()] == []
            continue
        assert parts in PARTS.values()
        assert (methods == []) == (parts is data.DATASETS)  # these are functions
        classes = [registry.resolve(part) for part in parts.values()]
        assert [(found, method) for found in classes for method in methods if not hasattr(found, method)] == []


def test_all_that_a_template_may_hold_is_explained() -> None:
    shown = "\n".join(snippets())
    named = re.findall(r"^(\w+): (.+)$", shown, re.MULTILINE)
    assert {key for key, _ in named} >= set(OPTIONAL)
    assert {value for key, value in named if key == "format"} == set(FORMATS) - {"text"}
    assert {value for key, value in named if key == "before"} <= {*STEPS, *PROMPTS}
    assert {*re.findall(r"\{\{ (\w+)", shown)} == {*SAMPLE, "passage"} - {"passages"}  # a list, of which each is a passage


# --- sweeps -----------------------------------------------------------------------------------------------------------------------------


def test_the_example_sweep_has_the_points_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(ROOT))
    for text in (example("notebook:"), example("notebook:").replace("limits:", "engine: direct  # ")):
        path = storage.write_text(tmp_path / "my-chunks.sweep.yaml", text)
        folder, points = plan(path)
        spec = storage.read_yaml(path)
        combinations = len(spec["fixed"]["chunk_sizes"]) * math.prod(map(len, spec["grid"].values()))
        assert f"draw {len(points) // 2} of the {combinations} combinations" in text  # each with two seeds
        assert f"outputs/{folder.name}" in "\n".join(snippets())


# --- answers and models ---------------------------------------------------------------------------------------------------------------


def test_the_example_rules_do_what_they_say(tmp_path: Path) -> None:
    rules = load_rules(storage.write_text(tmp_path / "rules.yaml", example("- name:")))
    assert apply_rules("담당자 02-123-4567로 문의하십시오.", rules)[:2] == ("담당자 [phone number removed]로 문의하십시오.", False)


def test_every_metric_of_answers_is_explained() -> None:
    first_cells = re.findall(r"^\|([^|]+)\|", read(ENGLISH), re.MULTILINE)
    assert [metric for metric in ANSWER_METRICS if f"`{metric}`" not in "".join(first_cells)] == []


def test_models_are_fetched_in_the_way_they_come() -> None:
    pulled = {name: "--allow-download" in words for words in calls() if words[:2] == ["models", "pull"] for name in words if "/" in name}
    assert len(pulled) > 5
    assert [name for name, asks in pulled.items() if asks == (name in CATALOGUE and bool(CATALOGUE[name].wheels))] == []
