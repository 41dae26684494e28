"""Measure generators: tokens a second of reading prompts and of writing answers, apart; the load of the model apart, too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from workbench.bench_parts import create, parameters
from workbench.bench_rates import Effort, Part, Rate, enough, in_turns, timed
from workbench.bench_texts import Texts, mean_characters
from workbench.datatypes import Completion, Conversation, Message, Passage, Span, WorkbenchError

PROMPT_WORDS = 120  # of the passage in a prompt
PROMPTS = 4  # that are asked together
NEW_TOKENS = 24  # of an answer, at most
CAP = "max_new_tokens"
MOST_PROMPTS = 512  # of one repetition of a generator without tokens
ASKED = {"en": "Write down the whole passage again, word by word.", "ko": "위의 글을 처음부터 끝까지 그대로 다시 적으십시오."}


def measure_generator(part: Part, languages: Sequence[str], effort: Effort) -> Iterator[Rate]:
    """Give seconds of the first use and of a load, then tokens a second of prompts ("prefill") and of answers ("decode"), by language.

    PROMPTS prompts are asked together, all different. Prompts that get one token back time the reading; what others with up to NEW_TOKENS
    take longer, divided by the tokens they got more, times the writing. A generator without tokens has answers a second. Raise
    WorkbenchError for one that fails, or writes too little to time.
    """
    if CAP not in parameters(part):
        yield from _without_tokens(part, languages, effort)
        return
    reader, writer = create(part, **{CAP: 1}), create(part, **{CAP: NEW_TOKENS})
    for what, generator in (("first use", reader), ("load", writer)):
        yield Rate.of(part, what, "s", [ask(generator, Texts("en", 8), "en", 1)[1]])
    for language in languages:
        yield from _tokens(part, language, reader, writer, effort)


def answer_cap(part: Part) -> int:
    """Return the tokens that an answer has at most, 0 for a generator without tokens."""
    default = parameters(part).get(CAP)
    return int(json.loads(part.options).get(CAP, default.default)) if default else 0


def _tokens(part: Part, language: str, reader: Any, writer: Any, effort: Effort) -> Iterator[Rate]:
    texts = Texts(language, PROMPT_WORDS)
    read: list[tuple[int, float]] = []  # tokens, seconds of each repetition
    written: list[tuple[int, float]] = []

    def reading() -> float:
        found, seconds = ask(reader, texts, language, PROMPTS)
        read.append((sum(completion.prompt_tokens or 0 for completion in found), seconds))
        return read[-1][0] / seconds

    def writing() -> float:
        found, seconds = ask(writer, texts, language, PROMPTS)
        written.append((sum(completion.completion_tokens or 0 for completion in found) - PROMPTS, seconds))
        return seconds

    ask(reader, texts, language, PROMPTS)  # what a first batch of this size prepares
    prefill = in_turns({"read": reading, "write": writing}, effort.repetitions)["read"]
    facts = {"prompts": PROMPTS, "prompt_tokens": round(sum(tokens for tokens, _ in read) / len(read) / PROMPTS, 1)}
    facts["characters"] = mean_characters(
        [prompt.messages[0].content for prompt in conversations(Texts(language, PROMPT_WORDS), language, 64)]
    )
    yield Rate.of(part, f"prefill {language}", "tokens/s", prefill, **facts)
    more = [(tokens, seconds - base) for (tokens, seconds), (_, base) in zip(written, read, strict=True)]
    if any(tokens < PROMPTS or seconds <= 0 for tokens, seconds in more):
        raise WorkbenchError(f"writes too little to time: {[tokens for tokens, _ in more]} tokens beyond the first of {PROMPTS} answers")
    facts = {"prompts": PROMPTS, "new_tokens": round(sum(tokens for tokens, _ in written) / len(written) / PROMPTS + 1, 1)}
    yield Rate.of(part, f"decode {language}", "tokens/s", [tokens / seconds for tokens, seconds in more], **facts)


def _without_tokens(part: Part, languages: Sequence[str], effort: Effort) -> Iterator[Rate]:
    generator = create(part)
    for language in languages:
        texts = Texts(language, PROMPT_WORDS)
        number = enough(lambda least, texts=texts, language=language: ask(generator, texts, language, least), effort.seconds, MOST_PROMPTS)
        rates = [number / ask(generator, texts, language, number)[1] for _ in range(effort.repetitions)]
        yield Rate.of(part, f"answers {language}", "answers/s", rates, prompts=number, words=PROMPT_WORDS)


def conversations(texts: Texts, language: str, number: int) -> list[Conversation]:
    """Return prompts that begin with their passage: nothing is shared that could be computed once, and the answer wants to be long."""
    return [
        Conversation((Message("user", f"{text}\n\n{ASKED[language]}"),), ASKED[language], (Passage(Span("bench", 0, len(text)), text),))
        for text in texts.take(number)
    ]


def ask(generator: Any, texts: Texts, language: str, number: int) -> tuple[list[Completion], float]:
    """Return the completions of so many new prompts, asked together, and the seconds they took; raise WorkbenchError where one failed."""
    asked = conversations(texts, language, number)
    found: list[Completion] = []
    seconds = timed(lambda: found.extend(generator.generate(asked)))
    if failed := [completion.error for completion in found if completion.error]:
        raise WorkbenchError(failed[0])
    return found, seconds
