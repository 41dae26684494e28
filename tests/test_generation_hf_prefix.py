"""What many prompts begin with is computed once, and changes nothing: tiny random models, with and without sliding attention."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_generator import CHAT_TEMPLATE, TINY_WINDOW, save_tiny_generator

from workbench.datatypes import Conversation, Message
from workbench.embedding_st import native_dtype
from workbench.generation import create_generator
from workbench.generation_hf import HFGenerator
from workbench.generation_hf_prefix import BUCKET, has_plain_cache

WORDS = "how many days of leave does a new employee get 연차 휴가는 며칠 쓸 수 있나요 until march".split()
KINDS = ("llama", "gemma", "gemma-wide", "continues")


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Save a Llama, two Gemma 3 (windows of 40 tokens, less than any prefix, and of 150), and a Llama without chat template."""
    place = tmp_path_factory.mktemp("models")
    folders = {name: save_tiny_generator(place / name, chat=name != "continues") for name in KINDS}
    for name, window in (("gemma", 40), ("gemma-wide", 150)):
        save_gemma(folders[name], window)
    return folders


def save_gemma(folder: Path, window: int) -> None:
    """Replace the model in a folder by a random Gemma 3 with sliding and full attention."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    names = 261  # special tokens and bytes, before the letters
    size = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    config = Gemma3TextConfig(
        vocab_size=size,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=3,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        sliding_window=window,
        max_position_embeddings=TINY_WINDOW,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        model = Gemma3ForCausalLM(config)
        model.lm_head.weight[:names] = 0  # some letter is always likelier
    model.save_pretrained(folder)


def build(folder: Path, **options: Any) -> HFGenerator:
    return create_generator(f"hf:{folder}", {"dtype": "float32", "device": "cpu", "max_new_tokens": 4} | options)


def conversations(count: int, seed: int = 0) -> list[Conversation]:
    """Draw conversations of one system message, the first 0 to 4 of four shots, and a question of any length."""
    draw = np.random.default_rng(seed)

    def text(low: int, high: int) -> str:
        return " ".join(draw.choice(WORDS, draw.integers(low, high)))

    system = Message("system", text(8, 9))
    shots = [Message(role, text(2, 8)) for _ in range(4) for role in ("user", "assistant")]
    found = []
    for _ in range(count):
        shared = (system, *shots[: 2 * draw.integers(0, 5)])
        found.append(Conversation((*shared, Message("user", text(1, 25))), shared=len(shared)))
    return found


def apart(found: list[Conversation]) -> list[Conversation]:
    return [replace(conversation, shared=0) for conversation in found]


def watched(generator: HFGenerator) -> list[np.ndarray]:
    """Collect the logits that each token is chosen from."""
    seen: list[np.ndarray] = []
    choose = generator._choose

    def watch(logits: Any, rows: Any) -> list[int]:
        seen.append(logits.numpy().copy())
        return choose(logits, rows)

    generator._choose = watch
    return seen


def computed(generator: HFGenerator) -> list[tuple[int, int]]:
    """Collect the shape (rows, tokens) of what the model computes, one token at a time left out."""
    shapes: list[tuple[int, int]] = []

    def note(module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        ids = given[0] if given else named["input_ids"]
        if ids.shape[1] > 1:
            shapes.append(tuple(ids.shape))

    generator._loaded.register_forward_pre_hook(note, with_kwargs=True)
    return shapes


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_prefix_changes_no_answer_and_no_logits(folders: dict[str, Path], kind: str) -> None:
    asked = conversations(40) + conversations(20, seed=1)
    generator = build(folders[kind])
    found = generator.generate(asked)
    assert not [completion.error for completion in found if completion.error]
    lengths = [len(generator._prefix(one, generator._tokenizer.encode(one.messages))) for one in asked]
    assert {0, BUCKET, 2 * BUCKET, 3 * BUCKET} <= set(lengths)
    whole = generator.generate(apart(asked))
    assert [completion.text for completion in found] == [completion.text for completion in whole]
    assert [completion.prompt_tokens for completion in found] == [completion.prompt_tokens for completion in whole]
    assert len({completion.text for completion in found}) > 8
    logits = watched(generator)
    for one in asked[:8]:
        generator.generate([one])
    count = len(logits)
    for one in apart(asked[:8]):
        generator.generate([one])
    for with_prefix, without in zip(logits[:count], logits[count:], strict=True):
        np.testing.assert_allclose(with_prefix, without, rtol=0, atol=2e-5 * np.abs(without).max())


@pytest.mark.parametrize(("kind", "dtype"), [("llama", native_dtype()), ("llama", "float32"), ("gemma", native_dtype())])
def test_an_answer_with_a_prefix_is_the_same_alone_and_in_any_batch(folders: dict[str, Path], kind: str, dtype: str) -> None:
    asked = conversations(10, seed=1) + apart(conversations(2, seed=1))
    whole = build(folders[kind], dtype=dtype)
    expected = [completion.text for completion in whole.generate(asked)]
    assert [whole.generate([one])[0].text for one in asked] == expected
    order = np.random.default_rng(2).permutation(len(asked))
    small = build(folders[kind], dtype=dtype, batch_tokens=500).generate([asked[number] for number in order])
    assert [completion.text for completion in small] == [expected[number] for number in order]
    said: list[str] = []
    assert whole.stream(asked[0], said.append).text == "".join(said) == expected[0]


@pytest.mark.parametrize("kind", ["llama", "gemma"])
def test_answers_with_a_prefix_equal_those_of_transformers(folders: dict[str, Path], kind: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    generator = build(folders[kind])
    model = AutoModelForCausalLM.from_pretrained(folders[kind])
    asked = conversations(6, seed=3)
    for conversation, completion in zip(asked, generator.generate(asked), strict=True):
        ids = torch.tensor([generator._tokenizer.encode(conversation.messages)])
        written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False)[0, ids.shape[1] :]
        assert completion.text == generator._tokenizer.text([token for token in written.tolist() if token not in generator._ends])


def test_a_prefix_is_computed_once_by_itself_and_the_rest_without_it(folders: dict[str, Path]) -> None:
    generator = build(folders["llama"])
    shared = (Message("system", "s" * 150),)
    asked = [Conversation((*shared, Message("user", "q" * length)), shared=1) for length in (5, 20, 60, 61, 62)]
    shapes = computed(generator)
    generator.generate(asked)  # prompts of 160 to 217 tokens: 2 buckets of the system message, then 1 or 2 more
    assert shapes[0] == (1, 128)
    assert sorted(shapes[1:]) == [(2, 64), (3, 128)]
    generator.generate(asked[:1])
    generator.stream(asked[1], lambda piece: None)
    assert (1, 128) not in shapes[1:]


@pytest.mark.parametrize(
    ("length", "shared", "prefix"),
    [(150, 1, 128), (125, 1, 128), (124, 1, 64), (61, 1, 64), (60, 1, 0), (150, 0, 0), (150, 2, 128), (150, 9, 128)],
)
def test_a_prefix_is_whole_buckets_of_the_shared_messages(folders: dict[str, Path], length: int, shared: int, prefix: int) -> None:
    generator = build(folders["llama"])
    conversation = Conversation((Message("system", "s" * length), Message("user", "q" * 20)), shared=shared)
    assert len(generator._prefix(conversation, generator._tokenizer.encode(conversation.messages))) == prefix


def test_a_prompt_that_begins_otherwise_is_computed_whole(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["llama"], tmp_path / "model"))
    configuration = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = "{% if 'odd' in messages[-1]['content'] %}!{% endif %}" + CHAT_TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration | {"chat_template": template}), encoding="utf-8")
    generator = build(folder)
    asked = [Conversation((Message("system", "s" * 150), Message("user", text)), shared=1) for text in ("even", "odd", "even too")]
    assert [len(generator._prefix(one, generator._tokenizer.encode(one.messages))) for one in asked] == [128, 0, 128]
    assert [one.text for one in generator.generate(asked)] == [one.text for one in generator.generate(apart(asked))]


def test_a_prompt_with_nothing_but_its_last_token_behind_the_prefix_is_computed_whole(folders: dict[str, Path]) -> None:
    generator = build(folders["continues"])
    for length, prefix in ((125, 64), (126, 0), (127, 128)):  # and a blank line: 127, 128 and 129 tokens before the question
        conversation = Conversation((Message("system", "s" * length), Message("user", "?")), shared=1)
        assert len(generator._prefix(conversation, generator._tokenizer.encode(conversation.messages))) == prefix
        assert generator.generate([conversation])[0].text == generator.generate(apart([conversation]))[0].text


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({}, True),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, True),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, False),
        ({"attention_chunk_size": 64}, False),
        ({"use_bidirectional_attention": True}, False),
        ({"num_kv_shared_layers": 1}, False),
        ({"layer_types": ["linear_attention", "full_attention"]}, False),
    ],
)
def test_models_whose_prefix_cannot_be_reused(changes: dict[str, Any], plain: bool) -> None:
    from transformers import LlamaConfig

    assert has_plain_cache(LlamaConfig(num_hidden_layers=2, **changes)) == plain
