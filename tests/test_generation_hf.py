"""Causal language models: tiny ones made here, and the stored ones where they are (12 s); ends, batches, streams, windows."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import save_tiny_model
from tiny_generator import END, TINY_WINDOW, save_tiny_generator

from workbench import models
from workbench.datatypes import Completion, Conversation, Message, WorkbenchError
from workbench.embedding_st import native_dtype
from workbench.generation import create_generator
from workbench.generation_hf import BUCKET, HFGenerator

SMOLLM, GEMMA = "HuggingFaceTB/SmolLM2-135M-Instruct", "google/gemma-3-270m"
DTYPES = sorted({"float32", native_dtype()})
HANGUL = ("<0xED>", "<0x95>", "<0x9C>", "<0xEA>", "<0xB5>", "<0xAD>")  # 한국


def asked(text: str, *shots: str, system: str = "") -> Conversation:
    """Make a conversation of a system message, shots as user and assistant messages in turn, and a question."""
    turns = [Message(("user", "assistant")[number % 2], shot) for number, shot in enumerate(shots)]
    return Conversation((*([Message("system", system)] if system else []), *turns, Message("user", text)))


def long(length: int) -> Conversation:
    """Make a conversation whose prompt has so many tokens for the tiny chat model."""
    return asked(("abcdefghij " * length)[: length - 3])


@pytest.fixture(autouse=True)
def own_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small models gain nothing from more
    if "stored" not in request.node.name:
        monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_generator(tmp_path_factory.mktemp("tiny") / "chat")


def build(folder: Path | str, **options: Any) -> HFGenerator:
    return create_generator(f"hf:{folder}", {"dtype": "float32", "device": "cpu", "max_new_tokens": 8} | options)


def texts(completions: list[Completion]) -> list[str]:
    assert not [completion.error for completion in completions if completion.error]
    return [completion.text for completion in completions]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_answer_is_the_same_alone_and_in_any_batch(tiny: Path, dtype: str) -> None:
    conversations = [long(length) for length in (4, 5, BUCKET, BUCKET + 1, BUCKET + 2, 100, 101, 102, 110, 2 * BUCKET + 1, 300)]
    whole = build(tiny, dtype=dtype)
    expected = whole.generate(conversations)
    assert [completion.prompt_tokens for completion in expected[:3]] == [4, 5, BUCKET]
    assert len(set(texts(expected))) > 8
    assert [whole.generate([conversation])[0].text for conversation in conversations] == texts(expected)
    order = np.random.default_rng(1).permutation(len(conversations))
    small = build(tiny, dtype=dtype, batch_tokens=300).generate([conversations[number] for number in order])
    assert texts(small) == [expected[number].text for number in order]
    assert texts(whole.generate([conversations[3]] * 3)) == [expected[3].text] * 3
    told: dict[int, Any] = {}
    build(tiny, dtype=dtype, batch_tokens=300).generate(conversations, told.__setitem__)
    assert [told[number].text for number in range(len(conversations))] == texts(expected)


def test_greedy_answers_equal_those_of_transformers(tiny: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    conversations = [asked("how long is the leave", system="be brief"), asked("연차는 며칠", "하나", "두 날"), long(90)]
    for conversation, completion in zip(conversations, build(tiny).generate(conversations), strict=True):
        messages = [{"role": message.role, "content": message.content} for message in conversation.messages]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]
        written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
        assert completion.text == tokenizer.decode(written, skip_special_tokens=True).strip()
        assert (completion.prompt_tokens, completion.completion_tokens) == (ids.shape[1], len(written))
        assert completion.seconds > 0


@pytest.mark.parametrize(
    ("chat", "script", "cap", "text", "finish", "tokens"),
    [
        (True, ("<assistant>", " 5", " days", END), 8, "5 days", "stop", 3),
        (True, ("<assistant>", " 5", " days", END), 3, "5 days", "stop", 3),  # ended by itself, just in time
        (True, ("<assistant>", " 5", " days", END), 2, "5 days", "length", 2),
        (True, ("<assistant>", "a\n", "\nb", END), 8, "a\n\nb", "stop", 3),  # a chat may write lines
        (True, ("<assistant>", END), 8, "", "stop", 1),
        (False, (":", " 5", " days", END), 8, "5 days", "stop", 3),
        (False, (":", "\n", " 5", " days.\n", "Question"), 8, "5 days.", "stop", 3),  # blank lines come before an answer
        (False, (":", " 5", " days", "\n"), 2, "5 days", "length", 2),
        (True, ("<assistant>", *HANGUL, END), 8, "한국", "stop", 7),
        (True, ("<assistant>", *HANGUL, END), 5, "한", "length", 5),  # no half characters
        (True, ("<assistant>", *HANGUL, END), 2, "", "length", 2),
    ],
)
def test_what_ends_an_answer_and_what_is_streamed(
    chat: bool, script: tuple[str, ...], cap: int, text: str, finish: str, tokens: int, tmp_path: Path
) -> None:
    generator = build(save_tiny_generator(tmp_path / "model", chat=chat, script=script), max_new_tokens=cap)
    question = asked("Answer:")
    completion = generator.generate([question])[0]
    assert (completion.text, completion.finish_reason, completion.completion_tokens) == (text, finish, tokens)
    said: list[str] = []
    streamed = generator.stream(question, said.append)
    assert (streamed.text, streamed.finish_reason, streamed.completion_tokens) == (text, finish, tokens)
    assert "".join(said) == text
    assert all(said)
    if text == "한국":
        assert said == ["한", "국"]


def test_rows_of_a_batch_end_at_their_own_time(tmp_path: Path) -> None:
    generator = build(save_tiny_generator(tmp_path / "model", chat=False, script=[*"abcdefg", END]))
    found = generator.generate([asked(text) for text in "dagfcebaf"])
    assert texts(found) == ["efg", "bcdefg", "", "g", "defg", "fg", "cdefg", "bcdefg", "g"]
    assert [completion.completion_tokens for completion in found] == [4, 7, 1, 2, 5, 3, 6, 7, 2]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stream_says_what_generate_returns(tiny: Path, temperature: float) -> None:
    generator = build(tiny, max_new_tokens=12, temperature=temperature, top_p=0.5, seed=3)
    for conversation in (long(40), asked("휴가는 며칠인가요")):
        said: list[str] = []
        assert generator.stream(conversation, said.append).text == "".join(said) == generator.generate([conversation])[0].text
        assert len(said) > 2


def with_template(folder: Path, template: str, target: Path) -> HFGenerator:
    """Copy a model and give it another chat template."""
    shutil.copytree(folder, target)
    configuration = json.loads((target / "tokenizer_config.json").read_text(encoding="utf-8")) | {"chat_template": template}
    (target / "tokenizer_config.json").write_text(json.dumps(configuration), encoding="utf-8")
    return build(target)


REFUSES_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
SHOWS = "{% for m in messages %}{{ m['role'][0] }}({{ m['content'] }}){% endfor %}"
DROPS_SYSTEM = "{% for m in messages if m['role'] != 'system' %}{{ m['role'][0] }}({{ m['content'] }}){% endfor %}"
ONE_TURN = "{% if messages | length > 1 %}{{ raise_exception('one turn only') }}{% endif %}{{ messages[0]['content'] }}"
VARIABLES = "{{ enable_thinking }} {{ date_string }}"


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (SHOWS, "s(be brief)u(one)a(two)u(three)"),
        (REFUSES_SYSTEM + SHOWS, "u(be brief\n\none)a(two)u(three)"),
        (DROPS_SYSTEM, "u(be brief\n\none)a(two)u(three)"),
        (VARIABLES, "False 26 Jul 2024"),
        (None, "be brief\n\none two\n\nthree"),
    ],
)
def test_messages_become_one_prompt(tiny: Path, tmp_path: Path, template: str | None, prompt: str) -> None:
    generator = with_template(tiny, template, tmp_path / "model") if template else build(save_tiny_generator(tmp_path / "b", chat=False))
    tokens = generator._tokenizer.encode(asked("three", "one", "two", system="be brief").messages)
    assert generator._tokenizer._tokenizer.decode(tokens) == prompt


def test_a_conversation_that_fails_leaves_the_others(tiny: Path, tmp_path: Path) -> None:
    generator = with_template(tiny, ONE_TURN, tmp_path / "model")
    good, refused, empty, too_long = asked("one"), asked("two", "q", "a"), asked(""), long(600)
    found = generator.generate([refused, good, empty, too_long, good])
    assert [completion.finish_reason for completion in found] == ["error", "length", "error", "error", "length"]
    assert "refuses these messages: one turn only" in found[0].error
    assert found[2].error == "the prompt is empty"
    assert found[3].error.startswith("the prompt of 597 tokens is 93 too long for the window of 512 with 8 for the answer")
    assert found[1].text == found[4].text == generator.generate([good])[0].text
    assert [completion.text for completion in found if completion.error] == [""] * 3
    said: list[str] = []
    assert generator.stream(refused, said.append) == found[0]
    assert said == []
    assert generator.overflows([refused, good, too_long]) == [0, 0, 93]
    assert generator.generate([]) == []


def test_a_window_is_counted_to_the_token_without_the_weights(tiny: Path, tmp_path: Path) -> None:
    fits = TINY_WINDOW - 8
    generator = build(shutil.copytree(tiny, tmp_path / "model"))
    (tmp_path / "model" / "model.safetensors").unlink()
    assert generator.overflows([long(fits), long(fits + 1), long(fits + 8)]) == [0, 1, 8]
    with pytest.raises(WorkbenchError, match="cannot be loaded"):
        generator.generate([long(fits)])
    assert [completion.finish_reason for completion in build(tiny).generate([long(fits), long(fits + 1)])] == ["length", "error"]


def test_draws_depend_on_the_seed_and_the_prompt_only(tiny: Path) -> None:
    conversations = [long(length) for length in (20, 21, 22, 90)]
    first = texts(build(tiny, temperature=1.0, seed=1).generate(conversations))
    assert texts(build(tiny, temperature=1.0, seed=1).generate(conversations[::-1])) == first[::-1]
    assert [build(tiny, temperature=1.0, seed=1).generate([conversation])[0].text for conversation in conversations] == first
    assert all(one != other for one, other in zip(first, texts(build(tiny, temperature=1.0, seed=2).generate(conversations)), strict=True))
    greedy = texts(build(tiny).generate(conversations))
    assert first != greedy
    assert texts(build(tiny, temperature=1e-6, seed=1).generate(conversations)) == greedy
    assert texts(build(tiny, temperature=5.0, top_p=1e-6, seed=1).generate(conversations)) == greedy
    unseeded = build(tiny, temperature=1.0)
    assert texts(unseeded.generate(conversations)) != texts(unseeded.generate(conversations))


def test_top_p_keeps_the_likeliest_that_reach_it(tiny: Path) -> None:
    import torch

    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(400, 1)
    for top_p, kept in ((0.4, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        generator = build(tiny, temperature=1.0, top_p=top_p, seed=0)
        drawn = generator._choose(logits, [generator._row([number]) for number in range(400)])
        assert set(drawn) == kept
    assert abs(drawn.count(0) / 400 - 0.5) < 0.1  # four standard errors


def test_the_fingerprint_holds_what_decides_the_text(tiny: Path, tmp_path: Path) -> None:
    plain = build(tiny).fingerprint
    assert set(plain) == {"name", "version", "weights", "dtype", "max_new_tokens", "sampled"}
    assert create_generator(f"hf:{tiny}").fingerprint["dtype"] == native_dtype()
    assert build(tiny, batch_tokens=1, device="auto", seed=5, top_p=0.5).fingerprint == plain  # they change nothing at temperature 0
    for options in ({"max_new_tokens": 9}, {"temperature": 0.5, "seed": 1}, {"temperature": 0.5, "seed": 2}, {"dtype": "bfloat16"}):
        assert build(tiny, **options).fingerprint != plain
    sampled = [build(tiny, temperature=0.5, seed=seed).fingerprint["sampled"] for seed in (0, None)]
    assert sampled == [False, True]
    assert with_template(tiny, SHOWS, tmp_path / "model").fingerprint["weights"] != plain["weights"]


def test_nothing_heavy_is_loaded_for_the_fingerprint(tiny: Path) -> None:
    code = (
        "import sys; from workbench.generation import create_generator\n"
        f"create_generator({f'hf:{tiny}'!r}).fingerprint\n"
        "print([name for name in ('torch', 'transformers', 'tokenizers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, r"generator\.max_new_tokens 0 must be a whole number of at least 1"),
        ({"temperature": -0.1}, r"generator\.temperature -0\.1 must be a number of at least 0"),
        ({"top_p": 0}, r"generator\.top_p 0 must be a number between 1e-06 and 1"),
        ({"seed": -1}, r"generator\.seed -1 must be a whole number of at least 0"),
        ({"batch_tokens": 0}, r"generator\.batch_tokens 0"),
        ({"device": "gpu"}, r"unknown generator\.device 'gpu'"),
        ({"dtype": "float16"}, r"unknown generator\.dtype 'float16'; did you mean"),
    ],
)
def test_options_that_make_no_sense(tiny: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        build(tiny, **options)


def test_models_that_cannot_write_say_so(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(WorkbenchError, match=r"writes no text; take a causal language model"):
        build(save_tiny_model(tmp_path / "bert"))
    with pytest.raises(WorkbenchError, match="model owner/nothing is not here"):
        build("owner/nothing")
    for name, damage, message in (
        ("old", lambda weights: {}, r"has no tokenizer\.json; save it again"),
        ("cut", lambda weights: {key: value for key, value in weights.items() if "layers.1.mlp.up" not in key}, "lacks weights: .*up_proj"),
        ("nan", lambda weights: weights | {"lm_head.weight": weights["lm_head.weight"] * float("nan")}, "NaN or infinity in float32"),
    ):
        folder = Path(shutil.copytree(tiny, tmp_path / name))
        if weights := damage(load_file(tiny / "model.safetensors")):
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        else:
            (folder / "tokenizer.json").unlink()
        with pytest.raises(WorkbenchError, match=message):
            build(folder).generate([asked("hi")])


@pytest.mark.parametrize(
    ("name", "question", "answer"),
    [
        (SMOLLM, "What is the capital of France?", "Paris"),
        (GEMMA, "[1] 휴가\n쓰지 않은 연차는 3월 31일에 소멸합니다.\n\n질문: 쓰지 않은 연차는 언제 소멸하나요?\n답변:", "3월 31일"),
    ],
)
def test_a_stored_model_answers_the_same_in_any_batch_and_stream(name: str, question: str, answer: str) -> None:
    if not models.stored(name):
        pytest.skip(f"the model is not here; fetch it with: workbench models pull {name}")
    generator = build(name, dtype=native_dtype(), max_new_tokens=16)
    other = asked("Name three rivers.\nAnswer:")
    alone = generator.generate([asked(question)])[0]
    assert answer in alone.text
    assert texts(generator.generate([other, asked(question), other]))[1] == alone.text
    said: list[str] = []
    assert generator.stream(asked(question), said.append).text == "".join(said) == alone.text
