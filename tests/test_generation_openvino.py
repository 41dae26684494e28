"""OpenVINO against transformers: the same prompts, answers, counts and ends; streams, stops, adapters; what it cannot run (tiny models)."""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_generation_hf import HANGUL, ONE_TURN, SMOLLM, asked, long
from tiny_generator import END, TINY_WINDOW, save_tiny_generator

from workbench import models, models_trained, storage
from workbench.datatypes import Conversation, WorkbenchError
from workbench.embedding_st import native_dtype
from workbench.generation import STOPPED, create_generator
from workbench.models_openvino_generator import stored_decoder

pytest.importorskip("openvino_genai", reason="needs the extra fast: pip install 'rag-workbench[fast]'")
PLAIN = {"dtype": "float32", "max_new_tokens": 8}
SILENCE = 20.0  # seconds until a test gives up


@pytest.fixture(autouse=True)
def own_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if "stored" not in request.node.name:
        monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_generator(tmp_path_factory.mktemp("tiny") / "chat")


def both(name: Path | str, **options: Any) -> tuple[Any, Any]:
    """Return the generators of transformers and of OpenVINO for a model."""
    hf = create_generator(f"hf:{name}", {**PLAIN, "device": "cpu", **options})
    return hf, create_generator(f"openvino:{name}", {**PLAIN, **options})


def told(completions: list[Any]) -> list[tuple[Any, ...]]:
    return [(one.text, one.finish_reason, one.error, one.prompt_tokens, one.completion_tokens) for one in completions]


def reshaped(folder: Path, target: Path, kind: str, **changes: Any) -> Path:
    """Copy a tiny model with other random layers: the biases of Qwen 2, the norms of Qwen 3, one tensor for both ends."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(folder, target)
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"model_type": kind, **changes}
    config = AutoConfig.for_model(**{name: value for name, value in stated.items() if name not in ("architectures", "dtype")})
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config)
        for name, weight in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                weight.add_(torch.rand_like(weight))
    model.to(getattr(torch, changes.get("dtype", "float32"))).save_pretrained(target)
    return target


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "num_key_value_heads": 4, "dtype": "bfloat16"}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32}),
    ],
)
def test_answers_are_those_of_transformers(tiny: Path, tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    folder = reshaped(tiny, tmp_path / "model", kind, **changes) if kind != "llama" or changes else tiny
    hf, generator = both(folder)
    lengths = [*range(4, 12), 31, 32, 33, 64, 65, 90, 255, 256, 257, TINY_WINDOW - 8]
    conversations = [asked("연차는 며칠", "하나", "두 날", system="be brief"), *(long(length) for length in lengths)]
    found = generator.generate(conversations)
    assert told(found) == told(hf.generate(conversations))
    assert len({completion.text for completion in found}) > 8
    assert all(completion.seconds > 0 for completion in found)
    again = np.random.default_rng(1).permutation(len(conversations))  # all is known from before
    assert told(generator.generate([conversations[number] for number in again])) == told([found[number] for number in again])


@pytest.mark.parametrize(
    ("chat", "script", "cap", "text", "finish", "tokens"),
    [
        (True, ("<assistant>", " 5", " days", END), 8, "5 days", "stop", 3),
        (True, ("<assistant>", " 5", " days", END), 3, "5 days", "stop", 3),
        (True, ("<assistant>", " 5", " days", END), 2, "5 days", "length", 2),
        (True, ("<assistant>", "a\n", "\nb", END), 8, "a\n\nb", "stop", 3),
        (False, (":", "\n", " 5", " days.\n", "Question", "x"), 5, "5 days.", "stop", 3),  # of a base model, the first line
        (True, ("<assistant>", *HANGUL, END), 8, "한국", "stop", 7),
        (True, ("<assistant>", *HANGUL, END), 5, "한", "length", 5),
    ],
)
def test_what_ends_an_answer_and_what_is_streamed(
    chat: bool, script: tuple[str, ...], cap: int, text: str, finish: str, tokens: int, tmp_path: Path
) -> None:
    generator = create_generator(
        f"openvino:{save_tiny_generator(tmp_path / 'model', chat=chat, script=script)}", {**PLAIN, "max_new_tokens": cap}
    )
    said: list[str] = []
    for completion in (*generator.generate([asked("Answer:")] * 2), generator.stream(asked("Answer:"), said.append)):
        assert (completion.text, completion.finish_reason, completion.completion_tokens) == (text, finish, tokens)
    assert said == (["한", "국"] if text == "한국" else said)
    assert "".join(said) == text
    assert not generator._loaded.has_non_finished_requests()


def test_each_is_told_when_it_ends_and_one_that_fails_leaves_the_others(tmp_path: Path) -> None:
    folder = save_tiny_generator(tmp_path / "model", script=["<assistant>", *"abcdefghijklmnopqrst", END])
    configuration = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = ONE_TURN + "{% if messages[0]['content'] == 'ask' %}<assistant>{% endif %}"
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration | {"chat_template": template}), encoding="utf-8")
    hf, generator = both(folder, max_new_tokens=30)
    conversations = [asked("ask"), asked("two", "q", "a"), asked("s"), asked(""), asked("m"), asked("x" * 600)]
    order: list[int] = []
    found = generator.generate(conversations, lambda number, completion: order.append(number))
    assert told(found) == told(hf.generate(conversations))
    assert [completion.finish_reason for completion in found] == ["stop", "error", "stop", "error", "stop", "error"]
    assert order == [2, 4, 0]
    assert generator.overflows(conversations) == hf.overflows(conversations) == [0, 0, 0, 0, 0, 118]
    assert generator.size(conversations[0]) == hf.size(conversations[0])
    assert generator.generate([]) == []


def test_few_tokens_held_at_once_change_no_answer(tiny: Path) -> None:
    conversations = [long(length) for length in range(200, 216)]
    hf, generator = both(tiny, batch_tokens=1)  # as many as the window, at least
    assert told(generator.generate(conversations)) == told(hf.generate(conversations))


def test_what_prompts_begin_with_is_held_once(tiny: Path) -> None:
    generator = create_generator(f"openvino:{tiny}", {**PLAIN, "max_new_tokens": 60})
    conversations = [asked(letter * 40, system="s" * 380) for letter in "abcdefgh"]  # 8 of 425 tokens: 3,880 tokens if each were held whole
    generator.generate(conversations)
    held = generator._loaded.get_metrics().max_cache_usage / 100 * generator.batch_tokens
    assert 380 + 8 * 100 < held < 2000


def test_a_stop_ends_the_work(tiny: Path) -> None:
    generator = create_generator(f"openvino:{tiny}", {**PLAIN, "max_new_tokens": 300})
    whole, said = generator.generate([asked("How often? 얼마나 자주?")])[0], []
    stopped = generator.stream(asked("How often? 얼마나 자주?"), said.append, lambda: len(said) >= 5)
    assert (stopped.finish_reason, stopped.error, stopped.text) == ("stopped", STOPPED, "".join(said))
    assert whole.text.startswith(stopped.text)
    assert 5 <= stopped.completion_tokens <= 6 < whole.completion_tokens
    assert generator.stream(long(50), said.append, lambda: True).completion_tokens == 0
    assert told(generator.generate([asked("How often? 얼마나 자주?")])) == told([whole])
    assert not generator._loaded.has_non_finished_requests()


def test_a_stop_ends_nothing_that_another_thread_asked(tiny: Path) -> None:
    generator = create_generator(f"openvino:{tiny}", {**PLAIN, "max_new_tokens": 60})
    other = asked("And how long?")
    whole = generator.generate([other])[0].text
    begun, go, stopped = threading.Event(), threading.Event(), []

    def wait(_piece: str) -> None:
        begun.set()
        go.wait(SILENCE)

    thread = threading.Thread(target=lambda: stopped.append(generator.stream(asked("How often?"), wait, go.is_set)))
    thread.start()
    assert begun.wait(SILENCE)
    completion = generator.stream(other, lambda piece: None)
    go.set()
    thread.join()
    assert (completion.text, completion.error) == (whole, "")
    assert [item.finish_reason for item in stopped] == ["stopped"]


def test_threads_share_steps_and_get_their_own_answers(tiny: Path) -> None:
    generator = create_generator(f"openvino:{tiny}", PLAIN)
    asked_by = [[long(length) for length in range(start, 120, 7)] for start in range(10, 14)]
    expected = [told(generator.generate(conversations)) for conversations in asked_by]
    with ThreadPoolExecutor(len(asked_by)) as threads:
        assert [told(found) for found in threads.map(create_generator(f"openvino:{tiny}", PLAIN).generate, asked_by)] == expected


def test_an_adapter_is_added_to_its_base(tiny: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    base = models.store() / "tiny--base"
    shutil.copytree(tiny, base)
    models._write_manifest("tiny/base", None, {}, base)
    draw = np.random.default_rng(0)

    def build(folder: Path) -> None:
        parts = {}
        for name, rows in (("self_attn.k_proj", 32), ("mlp.down_proj", 64)):
            for layer in (0, 1):
                module = f"base_model.model.model.layers.{layer}.{name}"
                parts[f"{module}.lora_A.weight"] = draw.normal(size=(4, 64)).astype(np.float32)
                parts[f"{module}.lora_B.weight"] = draw.normal(size=(rows, 4)).astype(np.float32)
        save_file(parts, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        fields = {"r": 4, "lora_alpha": 2, "lora_dropout": 0.0, "target_modules": ["k_proj", "down_proj"], "task_type": "CAUSAL_LM"}
        storage.write_json(folder / "adapter_config.json", {"peft_type": "LORA", **fields})

    model = models_trained.publish("trained/one", models.resolve("tiny/base"), {"identity": "1", "method": "by hand"}, build)
    hf, generator = both("trained/one")
    conversations = [long(length) for length in (10, 40, 90)]
    found = told(generator.generate(conversations))
    assert found == told(hf.generate(conversations))
    assert found != told(both("tiny/base")[1].generate(conversations))
    assert stored_decoder(model) != stored_decoder(models.resolve("tiny/base"))


def test_the_graph_is_made_once_and_nothing_is_sent(tiny: Path) -> None:
    code = (
        "import sys; from workbench.generation import create_generator; from workbench.datatypes import Conversation, Message\n"
        f"generator = create_generator({f'openvino:{tiny}'!r}, {{'max_new_tokens': 2}}); generator.fingerprint\n"
        "heavy = [name for name in ('torch', 'transformers', 'openvino', 'openvino_genai') if name in sys.modules]\n"
        "print(heavy, generator.generate([Conversation((Message('user', 'hi'),))])[0].finish_reason,\n"
        "      sys.modules['openvino_telemetry'])"
    )
    times = set()
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[] length None"
        times.add(stored_decoder(models.resolve(str(tiny))).stat().st_mtime_ns)
    assert len(times) == 1


def test_the_fingerprint_holds_what_decides_the_text(tiny: Path) -> None:
    hf, generator = both(tiny)
    added = {"name", "version", "graph", "packages"}
    assert {name: value for name, value in generator.fingerprint.items() if name not in added} == {
        name: value for name, value in hf.fingerprint.items() if name not in added
    }
    assert generator.fingerprint["packages"].keys() == {"openvino", "openvino-genai"}
    assert both(tiny, batch_tokens=99)[1].fingerprint == generator.fingerprint
    assert both(tiny, max_new_tokens=9)[1].fingerprint != generator.fingerprint
    if native_dtype() == "bfloat16":
        assert both(tiny, dtype="bfloat16")[1].fingerprint != generator.fingerprint
    else:
        with pytest.raises(WorkbenchError, match="needs a processor that computes in it"):
            both(tiny, dtype="bfloat16")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gemma3_text"}, r"openvino cannot run the model .*: its kind is 'gemma3_text', and it runs .*llama.*; take hf:"),
        ({"hidden_act": "gelu"}, "its activation is 'gelu'"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "it scales its positions"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": None}, "it scales its positions"),
        ({"partial_rotary_factor": 0.5, "rope_parameters": {"partial_rotary_factor": 0.5}}, "it turns a part of each head only"),
        ({"model_type": "mistral", "sliding_window": 64}, "its attention slides"),
        ({"layer_types": ["sliding_attention", "full_attention"]}, "its attention slides"),
        ({"vocab_size": None}, "does not state vocab_size"),
        ({"intermediate_size": 32}, r"mlp\.gate_proj\.weight has the shape \(64, 64\), expected \(32, 64\)"),
        ({"num_hidden_layers": 3}, r"it lacks model\.layers\.2\.input_layernorm\.weight"),
        ({"num_hidden_layers": 1}, r"model\.layers\.1\..* has no place in it"),
    ],
)
def test_models_that_cannot_be_run_say_why(tiny: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    (folder / "config.json").write_text(json.dumps(stated), encoding="utf-8")
    with pytest.raises(WorkbenchError, match=message):
        create_generator(f"openvino:{folder}", PLAIN).generate([long(9)])


def test_a_model_without_an_end_writes_on(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    for file in (folder / name for name in ("config.json", "generation_config.json", "tokenizer_config.json")):
        if file.is_file():
            stated = json.loads(file.read_text(encoding="utf-8"))
            file.write_text(
                json.dumps({name: value for name, value in stated.items() if not name.startswith("eos_token")}), encoding="utf-8"
            )
    hf, generator = both(folder, max_new_tokens=6)
    assert not generator._ends
    assert told(generator.generate([long(20)])) == told(hf.generate([long(20)]))


def test_options_of_others_are_refused(tiny: Path) -> None:
    for option in ("temperature", "seed", "device"):
        with pytest.raises(WorkbenchError, match=f"unknown option of generator 'openvino': '{option}'"):
            create_generator(f"openvino:{tiny}", {option: 1})


def test_a_stored_model_answers_alike_in_any_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not models.stored(SMOLLM):
        pytest.skip(f"the model is not here; fetch it with: workbench models pull {SMOLLM}")
    model = models.resolve(SMOLLM).path
    (tmp_path / model.name).symlink_to(model, target_is_directory=True)
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path))  # its graph is not left in the user's store
    hf, generator = both(SMOLLM, max_new_tokens=12)
    questions = ["What is the capital of France?", "Name three rivers.", "How many days has a week?"]
    conversations = [Conversation(asked(question, system="Answer in one short sentence.").messages, shared=1) for question in questions]
    found = generator.generate(conversations)
    assert "Paris" in found[0].text
    assert told(found) == told(hf.generate(conversations))
    said: list[str] = []
    assert generator.stream(conversations[0], said.append).text == "".join(said) == found[0].text
