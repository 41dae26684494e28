"""Prompt chains and shots in the pipeline: what each step is asked, what fails, and what is dropped when a window overflows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from test_pipeline import BADGE, DOCUMENTS, LEAVE, TOKENIZER, Window, pipeline

from workbench.datatypes import Completion, Conversation, Document, Example, Span
from workbench.generation import create_generator
from workbench.shots import ShotSelector, shot_pool
from workbench.tokens import token_tables

TRAINING = (
    Document("parking", "A parking permit costs ten euros a month.", "Parking"),
    Document("canteen", "The canteen opens at eleven.", "Canteen"),
    Document("keys", "A lost key is replaced within two days.", "Keys"),
)
SHOWN = tuple(
    Example(f"t{number}", question, (answer,), ((Span(document.id, 0, len(document.text)),),))
    for number, (document, question, answer) in enumerate(
        zip(
            TRAINING,
            ("What does a parking permit cost?", "When does the canteen open?", "How soon is a lost key replaced?"),
            ("ten euros", "at eleven", "within two days"),
            strict=True,
        )
    )
)


class Writer(Window):
    """Answer the first step of a chain with a quote of the passage, the second with what it was given."""

    def generate(self, conversations: Sequence[Conversation]) -> list[Completion]:
        first = not self.asked
        done = super().generate(conversations)
        return [replace(completion, text="QUOTED LINE") if first and not completion.error else completion for completion in done]


def shots(count: int, selection: str = "fixed", **changes: Any) -> ShotSelector:
    documents = {document.id: document for document in (*DOCUMENTS, *TRAINING)}
    tables = token_tables(documents.values(), TOKENIZER)
    return ShotSelector(shot_pool(SHOWN, [LEAVE, BADGE], documents), documents, tables, count, selection, 20, 0, **changes)


def test_a_chain_asks_twice_and_shows_the_first_completion_to_the_second() -> None:
    generator = Writer()
    seen: list[str] = []
    answers = pipeline(generator, prompt="chain").answer([LEAVE, BADGE], lambda step, seconds, made: seen.append(step))
    assert seen == ["preprocess", "vectorise", "retrieve", "augment", "generate", "augment", "generate", "postprocess"]
    for answer in answers:
        first, last = answer.steps
        assert (first.name, last.name) == ("extract", "answer")
        assert first.completion.text == "QUOTED LINE"
        assert "QUOTED LINE" in last.messages[-1].content
        assert "QUOTED LINE" not in first.messages[-1].content
        assert answer.completion is last.completion
    assert len(generator.asked) == 4


def test_a_question_whose_first_step_fails_is_not_asked_again_and_the_others_go_on() -> None:
    generator = Writer(fails=True)
    leave, badge = pipeline(generator, prompt="chain").answer([LEAVE, BADGE])
    assert badge.error == "the step before failed: the server is tired"
    assert badge.text == ""
    assert leave.error == ""
    assert [conversation.question for conversation in generator.asked] == [LEAVE.question, BADGE.question, LEAVE.question]


def test_a_stream_of_a_chain_says_the_last_step_only() -> None:
    said: list[str] = []
    pipeline(Writer(), prompt="chain").answer([LEAVE], say=said.append)
    assert "".join(said) == "31 December"


def test_shots_stand_between_instructions_and_question_and_are_shared_where_they_are_the_same() -> None:
    generator = Window()
    pipeline(generator, shots=shots(2)).answer([LEAVE, BADGE])
    for conversation in generator.asked:
        assert [message.role for message in conversation.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
        assert conversation.shared == 5
    assert generator.asked[0].messages[:5] == generator.asked[1].messages[:5]
    own = Window()
    pipeline(own, shots=shots(2, "random")).answer([LEAVE])
    assert own.asked[0].shared == 1


def test_a_chain_shows_shots_in_its_last_step_only() -> None:
    generator = Writer()
    pipeline(generator, prompt="chain", shots=shots(1)).answer([LEAVE])
    assert [len(conversation.messages) for conversation in generator.asked] == [2, 4]


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_shots_that_overflow_the_window_are_dropped_from_the_front_and_named(kept: int) -> None:
    generator = Window()
    selector = shots(3)
    for count in (kept, 3):
        pipeline(generator, shots=shots(count) if count else None).answer([LEAVE])
    words = [sum(len(message.content.split()) for message in conversation.messages) for conversation in generator.asked]
    shown = selector.select([LEAVE])[0]
    per_shot = [(words[1] - words[0]) // (3 - kept)] * 3
    room = words[1] - sum(per_shot[: 3 - kept]) + 3  # a few words more than the question with the kept shots needs
    answer = pipeline(Window(room), shots=selector, budget=40).answer([LEAVE])[0]
    assert answer.error == ""
    assert len(answer.steps[0].messages) == 2 + 2 * kept
    names = ", ".join(shot.id for shot in shown[: 3 - kept])
    assert set(names.split(", ")) <= {example.id for example in SHOWN}
    assert [note.text for note in answer.notes] == [f"dropped {3 - kept} of 3 shots to fit the generator's window: {names}"]
    assert answer.steps[0].messages[-2].content == (shown[-1].answer if kept else answer.steps[0].messages[-2].content)
    assert answer.passages  # the context is whole


def test_where_even_no_shot_fits_the_error_counts_the_shots() -> None:
    answer = pipeline(Window(3), shots=shots(3)).answer([LEAVE])[0]
    assert answer.text == ""
    assert "shots " in answer.error
    assert "too long for the generator's window" in answer.error


def test_a_closed_book_prompt_shows_no_passage_and_its_answer_rests_on_none() -> None:
    generator = Window()
    answer = pipeline(generator, prompt="closed-book").answer([LEAVE])[0]
    assert answer.hits
    assert answer.passages == ()
    assert not any("lapses" in message.content for message in generator.asked[0].messages)
    assert pipeline(create_generator("extractive"), prompt="closed-book").answer([LEAVE])[0].refused
    assert pipeline(Writer(), prompt="chain").answer([LEAVE])[0].passages  # its first step shows them
