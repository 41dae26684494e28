"""Test the two packaged generators where they were pulled: what they read and write equals what llama.cpp makes of the same files.

The numbers were taken once with llama-cpp-python 0.3.36: token ids from the packaged files as they are; log-probabilities and
continuations from the same weights unpacked to float32, with a float32 cache, so that both sides compute with the same numbers.
About 30 seconds of work.
"""

import functools
import re
from typing import Any

import pytest

from workbench import models

SMOLLM2, GEMMA = "HuggingFaceTB/SmolLM2-135M-Instruct", "google/gemma-3-270m"
TABLE = "\n".join(f"{n} x {n} = {n * n}" for n in range(1, 61))  # longer than Gemma's window of 512 tokens

IDS = {  # text: (SmolLM2, Gemma after its <bos>)
    "": ([], []),
    "Hello  world": ([19556, 216, 905], [9259, 138, 12392]),
    "   three": ([256, 1296], [139, 19891]),
    "3.14 and 1,000": (
        [35, 30, 33, 36, 284, 216, 33, 28, 32, 32, 32],
        [236800, 236761, 236770, 236812, 532, 236743, 236770, 236764, 236771, 236771, 236771],
    ),
    "대한민국의 수도": (
        [182, 230, 218, 33085, 246, 182, 124, 137, 181, 130, 251, 26638, 242, 18601, 226, 242, 182, 233, 222],
        [146220, 239217, 127561, 79301],
    ),
    "띄어쓰기  두 칸": (
        [182, 247, 222, 183, 240, 129, 183, 237, 125, 181, 133, 125, 216, 25947, 235, 234, 18601, 134, 133],
        [244303, 237430, 240545, 237351, 138, 238689, 98746],
    ),
    "def f(x):\n    return x**2  # 제곱\n": (
        [1604, 275, 24, 104, 727, 472, 1003, 1792, 828, 34, 216, 907, 18601, 250, 246, 181, 128, 126, 198],
        [2063, 517, 236769, 236781, 1473, 107, 140, 2060, 1123, 1018, 236778, 138, 236865, 79994, 107],
    ),
    "a\n\nb\n\n\nc\n\n\n\n\n\n": ([81, 198, 198, 82, 1116, 198, 83, 22342, 1116], [236746, 108, 236763, 109, 236755, 112]),
    "tab\tand\t\ttabs\r\n": ([15999, 197, 397, 197, 197, 100, 7366, 2738], [4823, 255968, 624, 255969, 39218, 251, 107]),
    "😀 👨\u200d👩\u200d👧": (
        [10813, 242, 218, 15107, 235, 118, 321, 231, 10813, 235, 119, 321, 231, 10813, 235, 117],
        [242398, 236743, 243874, 237243, 243767, 237243, 244814],
    ),
    "don't I'll we've": ([12420, 982, 339, 3060, 392, 3543], [13246, 236789, 236745, 564, 236789, 859, 692, 236789, 560]),
    "<|im_start|>user\nHi<|im_end|>\n": (
        [1, 4093, 198, 26843, 2, 198],
        [236820, 236909, 548, 236779, 3041, 111038, 2364, 107, 10979, 236820, 236909, 548, 236779, 643, 111038, 107],
    ),
    "<start_of_turn>user\nHi<end_of_turn>\n": (
        [44, 3738, 79, 1714, 79, 20589, 46, 4093, 198, 26843, 44, 486, 79, 1714, 79, 20589, 46, 198],
        [105, 2364, 107, 10979, 106, 107],
    ),
    "<b>굵게</b> <table>": (
        [44, 82, 46, 181, 130, 130, 181, 127, 230, 9617, 82, 46, 2067, 6413, 46],
        [200, 246366, 237672, 209, 236743, 168],
    ),
}


@functools.cache
def stored(name: str) -> models.LocalModel:
    if not models.stored(name):
        pytest.skip(f"run: workbench models pull {name}")
    return models.resolve(name)


@functools.cache
def tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(stored(name).path, local_files_only=True, trust_remote_code=False)


@functools.cache
def generator(name: str) -> Any:
    from transformers import AutoModelForCausalLM

    safe = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    return AutoModelForCausalLM.from_pretrained(stored(name).path, **safe).eval()


@pytest.fixture(scope="module", autouse=True)
def free_memory():
    """Let the models go after this module."""
    yield
    generator.cache_clear()


@pytest.mark.parametrize("name", [SMOLLM2, GEMMA], ids=["smollm2", "gemma"])
def test_a_stored_generator_is_what_the_catalogue_says(name):
    model, entry = stored(name), models.catalogue()[name]
    assert (model.kind, model.max_length, model.licence, model.precision) == (entry.kind, entry.max_length, entry.licence, entry.precision)
    assert model.kind == "generator"


@pytest.mark.parametrize("text", IDS, ids=[str(number) for number in range(len(IDS))])
def test_tokens_are_those_of_llama_cpp(text):
    smollm2, gemma = IDS[text]
    assert tokenizer(SMOLLM2)(text)["input_ids"] == smollm2
    assert tokenizer(GEMMA)(text)["input_ids"] == [2, *gemma]
    for name in (SMOLLM2, GEMMA):
        assert tokenizer(name).decode(tokenizer(name)(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (SMOLLM2, "The library opens at 9 am and closes at 6 pm.", -40.502),
        (SMOLLM2, "도서관은 평일 오전 9시에 열고 오후 6시에 닫는다.", -137.629),
        (GEMMA, "The library opens at 9 am and closes at 6 pm.", -32.435),
        (GEMMA, "도서관은 평일 오전 9시에 열고 오후 6시에 닫는다.", -54.713),
        (GEMMA, TABLE, -203.752),  # a window of 511 or 4096 tokens would make it -207.8 or -446.7
    ],
    ids=["smollm2-en", "smollm2-ko", "gemma-en", "gemma-ko", "gemma-long"],
)
def test_log_probability_of_a_text_is_that_of_llama_cpp(name, text, expected):
    import torch

    ids = tokenizer(name)(text, return_tensors="pt")["input_ids"][0]
    model, total = generator(name), 0.0
    with torch.inference_mode():
        states = model.model(ids[None]).last_hidden_state[0, :-1]
        for start in range(0, len(states), 100):  # all logits at once would be a gigabyte
            logits = model.lm_head(states[start : start + 100])
            total -= float(torch.nn.functional.cross_entropy(logits, ids[start + 1 : start + 1 + len(logits)], reduction="sum"))
    assert total == pytest.approx(expected, rel=3e-4)


def chat(question: str) -> str:
    return tokenizer(SMOLLM2).apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize(
    ("name", "prompt", "expected"),
    [
        (SMOLLM2, "What is the capital of France? Answer in one sentence.", "The capital of France is Paris.<|im_end|>"),
        (
            GEMMA,
            "질문: 도서관은 몇 시에 닫나요?\n문서: 도서관은 평일 오전 9시에 열고 오후 6시에 닫는다.\n답:",
            " 도서관은 평일 오전 9시부터 오후 6시까지 열고",
        ),
    ],
    ids=["smollm2", "gemma"],
)
def test_greedy_continuation_is_that_of_llama_cpp(name, prompt, expected):
    import torch

    ids = tokenizer(name)(chat(prompt) if name == SMOLLM2 else prompt, return_tensors="pt")
    wanted = tokenizer(name)(expected, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        written = generator(name).generate(**ids, max_new_tokens=len(wanted), do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert tokenizer(name).decode(written) == expected


def test_smollm2_knows_its_roles_and_gemma_has_none():
    prompt = chat("Hi")
    assert re.fullmatch(r"<\|im_start\|>system\n.*<\|im_end\|>\n<\|im_start\|>user\nHi<\|im_end\|>\n<\|im_start\|>assistant\n", prompt)
    assert tokenizer(GEMMA).chat_template is None
