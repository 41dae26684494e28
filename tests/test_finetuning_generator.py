"""Adapters and pretrained generators: what they learn, that it survives the disk and a kill, and which tokens count."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_training import BASE, FOLLOWING, PLAN, kill_in_the_middle, store_tiny_generator, train_words, words

from workbench import models, models_trained
from workbench.datatypes import Conversation, Message, WorkbenchError
from workbench.finetuning import Plan, training_folder
from workbench.finetuning_generator import pretrain_generator, train_generator
from workbench.finetuning_rows import IGNORED, PairTokenizer, Row, answer_loss, collate, micro_batches
from workbench.generation import create_generator
from workbench.generation_hf_load import load_generator

SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
QUICK = Plan(batch_size=4, checkpoint_every=5)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty model store."""
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def answers(name: str, pairs: list) -> list[str]:
    """Let a stored model answer."""
    generator = create_generator(f"hf:{name}", {"dtype": "float32", "max_new_tokens": 5})
    return [completion.text for completion in generator.generate([conversation for conversation, _ in pairs])]


def test_an_adapter_learns_what_its_answers_have_in_common_and_survives_the_disk(store):
    import torch
    from safetensors.torch import load_file

    store_tiny_generator()
    before = answers(BASE, words("m"))
    said = []
    trained = train_words(say=said.append)
    assert [point.step for point in trained.points] == [*range(0, 81, 4)]
    assert trained.points[0].held_out_loss > 2
    assert trained.points[-1].held_out_loss < 0.02
    assert answers(trained.name, words("m")) == [f"{letter}o{letter}" for letter in FOLLOWING.values()] != before
    assert trained.tokens == 20 * 32 * 9  # "<user>", 2 letters, "<end>", "<assistant>", 3 letters, "<end>"
    assert not training_folder(trained.name).exists()

    merged, base = (load_generator(models.resolve(name), torch.float32, "cpu") for name in (trained.name, BASE))
    tensors = load_file(store / "trained--words" / models_trained.ADAPTER)
    pairs = [(key, key.replace("lora_A", "lora_B")) for key in tensors if "lora_A" in key]
    assert len(pairs) == 2 * 7
    with torch.no_grad():
        for key, other in pairs:
            name = key.removeprefix("base_model.model.").replace(".lora_A.weight", "")
            base.get_submodule(name).weight += 2 * tensors[other] @ tensors[key]  # alpha / rank = 2
        ids = torch.tensor([[3, 261, 262, 1, 4]])
        assert torch.equal(merged(ids).logits, base(ids).logits)

    said.clear()
    assert train_words(say=said.append) == trained
    assert not said, "a second call must train nothing"
    with pytest.raises(WorkbenchError, match="trained/words was trained on other data, settings or package versions; take another name"):
        train_words(plan=replace(PLAN, seed=1))
    with pytest.raises(WorkbenchError, match="trained/words is an adapter; train the model under it instead"):
        train_generator(words("i"), [], "trained/words", "trained/more", QUICK)


def test_shuffled_answers_teach_nothing_of_others(store):
    """The control: what an adapter learns must be the relation of answer and question, not the form of answers only."""
    store_tiny_generator()
    pairs = [pair for first in "ijkl" for pair in words(first)]
    shuffled = [(conversation, pairs[(number * 5 + 3) % 32][1]) for number, (conversation, _) in enumerate(pairs)]
    control = train_generator(shuffled, words("m"), BASE, "trained/control", PLAN, rank=8)
    assert control.points[-1].held_out_loss > 0.3
    assert sum(text == answer for text, (_, answer) in zip(answers(control.name, words("m")), words("m"), strict=True)) <= 2


def test_a_killed_training_stores_the_same_bytes(store):
    store_tiny_generator()
    plan = replace(PLAN, epochs=5)
    kill_in_the_middle("words", "5")
    said = []
    train_words(say=said.append, plan=plan)
    assert said[0] == "going on after step 10 of 20"
    train_words("trained/whole", plan=plan)
    for file in (models_trained.ADAPTER, models_trained.ADAPTER_CONFIG):
        assert (store / "trained--words" / file).read_bytes() == (store / "trained--whole" / file).read_bytes()
    assert models.resolve("trained/words").fingerprint == models.resolve("trained/whole").fingerprint


def test_only_answers_count_whatever_they_are_batched_with(tmp_path):
    import torch
    from tiny_generator import save_tiny_generator

    rows = [Row([5, 6, 7], [8]), Row([9], [10, 11, 12]), Row([261, 262], [263, 1])]
    ids, mask, targets = collate(rows)
    assert ids == [[5, 6, 7, 8], [9, 10, 11, 12], [261, 262, 263, 1]]
    assert mask == [[1, 1, 1, 1]] * 3
    assert targets == [[IGNORED, IGNORED, 8], [10, 11, 12], [IGNORED, 263, 1]]
    assert collate([Row([5], [8]), Row([6, 7, 8], [9, 10])]) == (
        [[0, 0, 0, 5, 8], [6, 7, 8, 9, 10]],
        [[0, 0, 0, 1, 1], [1, 1, 1, 1, 1]],
        [[IGNORED, 8], [9, 10]],
    )
    model = load_generator(models.resolve(str(save_tiny_generator(tmp_path))), torch.float32, "cpu")
    rows.append(Row([5, 6, 7, 261, 262, 263, 264], [265, 1]))
    expected = 0.0
    for row in rows:  # each alone, from all its logits
        shares = torch.log_softmax(model(torch.tensor([[*row.prompt, *row.answer]])).logits[0].double(), 1)
        expected -= sum(shares[len(row.prompt) + place - 1, token].item() for place, token in enumerate(row.answer))
    assert answer_loss(model, rows).item() == pytest.approx(expected, rel=1e-5)


def test_micro_batches_hold_every_row_once_within_the_bounds():
    rows = [Row([1] * length, [2] * (length % 7 + 1)) for length in (5, 900, 30, 2500, 31, 700, 600, 29, 28)]
    parts = list(micro_batches(rows))
    assert [[len(row.prompt) for row in part] for part in parts] == [[2500], [900, 700], [600, 31, 30], [29, 28, 5]]
    assert [len(part) for part in micro_batches([Row([1], [2] * 200)] * 5)] == [2, 2, 1]
    assert [len(part) for part in micro_batches([Row([1], [2] * 511)] * 2)] == [1, 1]
    assert list(micro_batches([])) == []


@pytest.mark.parametrize("chat", [True, False])
def test_an_answer_is_tokenised_as_it_stands_after_its_prompt(tmp_path, chat):
    from tiny_generator import save_tiny_generator

    tokenizer = PairTokenizer(models.resolve(str(save_tiny_generator(tmp_path, chat=chat))))
    messages = [Message("system", "ab"), Message("user", "question\n\nAnswer:")]
    row = tokenizer.row(messages, " two\nlines ", frozenset({1}))
    assert list(row.prompt) == tokenizer.encode(messages)
    assert tokenizer._tokenizer.decode(row.answer) == ("two\nlines<end>" if chat else " two lines<end>")
    with pytest.raises(WorkbenchError, match=r"the answer to 'question\\n\\nAnswer:' is empty"):
        tokenizer.row(messages, " \n", frozenset({1}))


def test_pairs_that_cannot_be_learned_are_named(store):
    store_tiny_generator()
    long = (Conversation((Message("user", "a" * 600),)), "b")
    said = []
    trained = train_generator([*words("i"), long], [long, *words("m")], BASE, "trained/short", QUICK, say=said.append)
    assert said[:2] == [f"1 of 9 pairs are left out: longer than the 512 tokens that {BASE} reads"] * 2
    assert models_trained.card("trained/short")["rows"] == 8
    assert len(trained.points) == 3
    for arguments, message in (
        (([], [], BASE, "trained/x"), "there are no pairs"),
        (([long], [], BASE, "trained/x"), "all 1 pairs are longer than the 512 tokens"),
        ((words("i"), [], BASE, "x"), "'x' is no name for a trained model"),
        ((words("i"), [], str(store / "tiny--words"), "trained/x"), "must be a stored model and not the folder"),
    ):
        with pytest.raises(WorkbenchError, match=message):
            train_generator(*arguments, QUICK)
    for options, message in (({"rank": 0}, "rank 0"), ({"alpha": 1.5}, "alpha 1.5"), ({"dropout": 1}, "dropout must be")):
        with pytest.raises(WorkbenchError, match=message):
            train_generator(words("i"), [], BASE, "trained/x", QUICK, **options)


def test_pretraining_learns_documents_and_its_model_can_be_adapted(store):
    base = store_tiny_generator("tiny/documents", chat=False)
    texts = ["ab ab ab ab ab ab ab", "ab ab ab 가나 가나 가나 가나"] * 4
    plan = Plan(epochs=40, batch_size=4, learning_rate=0.003)
    done = pretrain_generator(texts, texts[:2], base, "trained/documents", plan, window=16, data={"name": "folder:/data/docs"})
    assert done.points[-1].held_out_loss < 0.5 * done.points[0].held_out_loss
    model = models.resolve(done.name)
    assert (model.kind, model.precision, model.max_length, model.path) == ("generator", "fp32", 512, store / "trained--documents")
    assert (model.path / "tokenizer.json").read_bytes() == (store / "tiny--documents" / "tokenizer.json").read_bytes()
    assert answers(done.name, [(Conversation((Message("user", "ab ab ab ab a"),)), "")]) == ["b ab"]
    chained = train_generator(words("i"), [], done.name, "trained/chained", QUICK, rank=2)
    assert (chained.model.path, chained.model.adapter) == (model.path, store / "trained--chained")
    for file in store.rglob("trained--*/*.*"):
        if file.suffix in (".json", ".md", ".jinja"):
            assert str(store.parent) not in file.read_text(encoding="utf-8")
    assert json.loads((model.path / "card.json").read_text(encoding="utf-8"))["data"] == {"name": "folder:docs"}
    with pytest.raises(WorkbenchError, match="window must be a whole number from 2 to the 512 tokens"):
        pretrain_generator(texts, [], base, "trained/x", plan, window=513)
    with pytest.raises(WorkbenchError, match="no text to train on"):
        pretrain_generator([], [], base, "trained/x", plan)


def test_a_real_model_learns_and_survives_the_disk(store, monkeypatch):
    """Take about 40 s on two quiet cores."""
    with monkeypatch.context() as context:
        context.delenv("WORKBENCH_MODELS")
        if not models.stored(SMOLLM):
            pytest.skip(f"run: workbench models pull {SMOLLM}")
        real = models.resolve(SMOLLM)
    store.mkdir()
    (store / real.path.name).symlink_to(real.path)
    pairs = [
        (Conversation((Message("user", f"The code of room {room} is {room * 7}. Which code has room {room}?"),)), f"Code {room * 7}!")
        for room in range(8)
    ]
    tokenizer = PairTokenizer(real)
    [row, *_] = [tokenizer.row(conversation.messages, answer, frozenset({2})) for conversation, answer in pairs]
    turns = [{"role": "user", "content": pairs[0][0].messages[0].content}, {"role": "assistant", "content": pairs[0][1]}]
    whole = tokenizer._tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    assert [*row.prompt, *row.answer] == whole[: len(row)]
    assert tokenizer._tokenizer.decode(whole[len(row) :]) == "\n"
    plan = Plan(epochs=4, batch_size=8, learning_rate=1e-3)
    trained = train_generator(pairs, pairs[:2], SMOLLM, "trained/rooms", plan, rank=4)
    assert trained.points[-1].held_out_loss < 0.5 * trained.points[0].held_out_loss
    assert answers(trained.name, pairs[:2]) == answers(trained.name, pairs[:2])
