"""Training an embedder: a tiny random model learns made-up synonyms, a killed training resumes to the same bytes, bad input is named."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import TINY_LENGTH, save_tiny_model
from tiny_generator import save_tiny_generator

from workbench import data, models, models_trained
from workbench.datatypes import WorkbenchError
from workbench.embedding import create_embedder
from workbench.finetuning import Plan, TrainedModel, training_folder
from workbench.finetuning_embedder import DEFAULT_PLAN, SCALE, ranking_loss, train_embedder

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
REAL_STORE = models.store()
ASKED, STATED = [letter * 8 for letter in "ABCDEFGHIJKL"], [letter * 8 for letter in "QPWVUTSRXONM"]  # made-up synonyms
PASSAGES = [f"the {word} is here" for word in STATED]
FORMS = ("where is a {}", "find me the {}", "{} stands in which hall", "has anyone seen {}")
PAIRS = [(form.format(word), passage) for word, passage in zip(ASKED, PASSAGES, strict=True) for form in FORMS[:3]]
HELD_OUT = [(FORMS[3].format(word), passage) for word, passage in zip(ASKED, PASSAGES, strict=True)]
PLAN = Plan(epochs=30, batch_size=12, learning_rate=3e-3, checkpoint_every=25)
PREFIXES = {"query": "Q ", "passage": "D "}


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_MODELS", str(tmp_path_factory.mktemp("store")))
        yield models.store()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a tiny random model that has prefixes, and needs them by its name."""
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
    configuration = folder / "config_sentence_transformers.json"
    stated = json.loads(configuration.read_text(encoding="utf-8")) | {"prompts": {"query": "Q ", "document": "D "}}
    configuration.write_text(json.dumps(stated), encoding="utf-8")
    return str(folder.rename(folder.with_name("tiny-e5")))


@pytest.fixture(scope="module")
def learned(tiny: str) -> TrainedModel:
    return train_embedder(PAIRS, HELD_OUT, PASSAGES, tiny, "trained/toy", PLAN, data={"name": "toy"})


def encode(spec: str, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Embed the held-out questions and all passages, which are in the same order."""
    embedder = create_embedder(f"st:{spec}", {"dtype": "float32", **options})
    embedder._loaded.to("cpu")
    return embedder.encode([question for question, _ in HELD_OUT], "query"), embedder.encode(PASSAGES, "passage")


def recall(spec: str) -> float:
    """Return the share of questions, of a form never trained on, that find their passage first."""
    questions, passages = encode(spec)
    return float(((questions @ passages.T).argmax(axis=1) == np.arange(len(PASSAGES))).mean())


def expected_loss(spec: str, batch_size: int, **options: Any) -> float:
    """Work out the held-out loss with in-batch negatives only."""
    questions, passages = encode(spec, **options)
    total = 0.0
    for at in range(0, len(questions), batch_size):
        scores = SCALE * questions[at : at + batch_size] @ passages[at : at + batch_size].T
        total += float((np.log(np.exp(scores).sum(axis=1)) - scores.diagonal()).sum())
    return total / len(questions)


def test_a_trained_model_finds_what_its_base_does_not(tiny: str, learned: TrainedModel):
    assert recall(tiny) <= 0.4
    assert recall("trained/toy") >= 0.8
    assert [point.step for point in learned.points] == [0, 22, 45, 68, 90]
    assert learned.points[-1].train_loss < learned.points[1].train_loss / 2
    assert learned.points[-1].held_out_loss < learned.points[0].held_out_loss / 2
    assert not training_folder("trained/toy").exists()


def test_a_control_trained_on_shuffled_passages_learns_nothing(tiny: str):
    passages = [passage for _, passage in PAIRS]
    random.Random(0).shuffle(passages)
    pairs = [(question, passage) for (question, _), passage in zip(PAIRS, passages, strict=True)]
    train_embedder(pairs, [], PASSAGES, tiny, "trained/shuffled", PLAN)
    assert recall("trained/shuffled") <= 0.4


def test_what_is_stored_loads_as_its_base_did(tiny: str, learned: TrainedModel):
    base, trained = models.resolve(tiny), models.resolve("trained/toy")
    assert trained == learned.model
    assert (trained.kind, trained.max_length, trained.languages, trained.precision) == ("embedder", TINY_LENGTH, base.languages, "fp32")
    assert models.prefixes(trained) == create_embedder("st:trained/toy").prefixes == PREFIXES
    assert [part.tobytes() for part in encode("trained/toy")] == [part.tobytes() for part in encode("trained/toy")]
    assert encode("trained/toy")[0].tobytes() != encode(tiny)[0].tobytes()
    copy = [part.tobytes() for part in encode(str(trained.path))]
    assert copy == [part.tobytes() for part in encode("trained/toy")]
    card = models_trained.card("trained/toy")
    assert card["settings"] == {"negatives": 1, "mined": card["settings"]["mined"], "prefixes": PREFIXES}
    assert len(PAIRS) / 2 < card["settings"]["mined"] < len(PAIRS)  # a random model has some golds below all else
    assert card["data"] == {"name": "toy"}
    assert card["truncated_passages"] == 0


def test_the_same_call_again_trains_nothing_and_another_needs_another_name(tiny: str, learned: TrainedModel):
    said: list[str] = []
    assert train_embedder(PAIRS, HELD_OUT, PASSAGES, tiny, "trained/toy", PLAN, data={"other": 1}, say=said.append) == learned
    assert said == []
    changes: list[dict[str, Any]] = [
        {"pairs": PAIRS[:-1]},
        {"held_out": HELD_OUT[:-1]},
        {"corpus": PASSAGES[:-1]},
        {"plan": replace(PLAN, seed=1)},
        {"negatives": 2},
        {"positives": [[]] * len(PAIRS[:-1]) + [["x"]]},
    ]
    given: dict[str, Any] = {"pairs": PAIRS, "held_out": HELD_OUT, "corpus": PASSAGES, "base": tiny, "name": "trained/toy", "plan": PLAN}
    for change in changes:
        with pytest.raises(WorkbenchError, match="trained/toy was trained on other data, settings"):
            train_embedder(**{**given, **change})


@pytest.mark.parametrize("batch_size", [12, 5])
def test_losses_are_those_of_the_vectors_at_inference(tiny: str, batch_size: int):
    plan = replace(PLAN, batch_size=batch_size, epochs=0.5)
    name = f"trained/batches-{batch_size}"
    made = train_embedder(PAIRS, HELD_OUT, [], tiny, name, plan, negatives=0)
    first, last = made.points[0].held_out_loss, made.points[-1].held_out_loss
    assert first == pytest.approx(expected_loss(tiny, batch_size), abs=2e-3)  # trained in bfloat16 where that is native
    assert abs(first - expected_loss(tiny, batch_size, query_prefix="", passage_prefix="")) > 1e-2
    assert last == pytest.approx(expected_loss(name, batch_size), abs=2e-3)
    assert abs(first - last) > 1e-2


def test_what_may_answer_a_question_is_hidden_from_it(tiny: str):
    several = [PASSAGES] * len(HELD_OUT)
    plan = replace(PLAN, epochs=0.1)
    made = train_embedder(PAIRS, HELD_OUT, [], tiny, "trained/hidden", plan, negatives=0, held_out_positives=several)
    assert made.points[0].held_out_loss == 0  # nothing is left to tell apart


def test_tokens_and_cut_passages_are_counted(tiny: str):
    long = "y" * 100  # which the model cuts to its longest input
    pairs = [("a", "z"), ("bb", long), ("ccc", long)]
    made = train_embedder(pairs, [], [], tiny, "trained/counted", replace(PLAN, epochs=2), negatives=0)
    assert made.tokens == 2 * ((5 + 6 + 7) + 5 + TINY_LENGTH)  # with prefix and two special tokens; equal passages are read once
    assert models_trained.card("trained/counted")["truncated_passages"] == 1
    assert [point.held_out_loss for point in made.points] == [None] * len(made.points)


def test_a_killed_training_resumes_to_the_same_bytes(tiny: str, learned: TrainedModel):
    code = """if True:
        import os, signal, sys
        from test_finetuning_embedder import HELD_OUT, PAIRS, PASSAGES, PLAN, train_embedder

        def say(text):
            if text.startswith("step 45 of"):
                os.kill(os.getpid(), signal.SIGKILL)

        train_embedder(PAIRS, HELD_OUT, PASSAGES, sys.argv[1], "trained/killed", PLAN, say=say)
    """
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(models.__file__).parent.parent)])
    done = subprocess.run([sys.executable, "-c", code, tiny], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    said: list[str] = []
    made = train_embedder(PAIRS, HELD_OUT, PASSAGES, tiny, "trained/killed", PLAN, say=said.append)
    assert "going on after step 25 of 90" in said
    assert made.model.fingerprint == learned.model.fingerprint
    assert [replace(point, seconds=0) for point in made.points] == [replace(point, seconds=0) for point in learned.points]


def test_the_loss_by_hand_and_by_sentence_transformers():
    import torch
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    questions, passages = (torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 8)).astype(np.float32)) for seed in (0, 1))
    negatives = torch.from_numpy(np.random.default_rng(2).normal(size=(4, 8)).astype(np.float32))
    shown = torch.zeros(4, 8, dtype=torch.bool)
    ours = ranking_loss(questions, torch.cat([passages, negatives]), torch.arange(4), shown)
    theirs = MultipleNegativesRankingLoss(model=None, scale=SCALE).compute_loss_from_embeddings([questions, passages, negatives], None)
    assert ours.mean().item() == pytest.approx(theirs.item(), rel=1e-5)

    texts = torch.tensor([[4.0, 3], [0.6, 0.8], [0, 2]])  # cosines 0.8, 0.6, 0 to the first question and 0.6, 0.8, 1 to the second
    loss = ranking_loss(torch.tensor([[2.0, 0], [0, 1]]), texts, torch.tensor([1, 2]), torch.tensor([[0, 0, 1], [0, 1, 0]]).bool())
    assert loss.tolist() == pytest.approx([4 + np.log(1 + np.exp(-4)), np.log(1 + np.exp(-8))], abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": []}, "needs at least 2 pairs of question and passage, not 0"),
        ({"pairs": PAIRS[:1]}, "needs at least 2 pairs of question and passage, not 1"),
        ({"pairs": [*PAIRS, (" ", "x")]}, rf"the question of pairs\[{len(PAIRS)}\] is ' '; it must be text that is not empty"),
        ({"pairs": [("x", ""), *PAIRS]}, r"the passage of pairs\[0\] is ''"),
        ({"held_out": [("x", None)]}, r"the passage of held_out\[0\] is None"),
        ({"corpus": ["x", "\n"]}, r"corpus\[1\] is '\\n'"),
        ({"positives": [["x"]]}, f"there are 1 lists of positives for {len(PAIRS)} pairs"),
        ({"positives": [[""]] * len(PAIRS)}, r"a positive of pairs\[0\] is ''"),
        ({"held_out_positives": [["x"]]}, f"there are 1 lists of positives for {len(HELD_OUT)} held_out"),
        ({"corpus": []}, "the corpus is empty, so no hard negative can be found in it"),
        ({"pairs": PAIRS[:3], "held_out": [], "corpus": PASSAGES[:1]}, "none of the 1 passages of the corpus can be a hard negative"),
        ({"positives": [PASSAGES] * len(PAIRS), "held_out": []}, "none of the 12 passages of the corpus can be a hard negative"),
        ({"negatives": -1}, "negatives -1 must be a whole number of at least 0"),
        ({"negatives": 1.0}, "negatives 1.0 must be a whole number"),
        ({"negatives": 0, "pairs": PAIRS[:3]}, "without mined negatives a batch needs other passages"),
        ({"negatives": 0, "plan": Plan(batch_size=1)}, "give a batch_size of at least 2"),
        ({"name": "toy"}, "'toy' is no name for a trained model"),
        ({"base": "owner/nothing"}, "model owner/nothing is not here"),
    ],
)
def test_bad_input_is_named(tiny: str, change: dict[str, Any], message: str):
    given: dict[str, Any] = {"pairs": PAIRS, "held_out": HELD_OUT, "corpus": PASSAGES, "base": tiny, "name": "trained/bad"}
    with pytest.raises(WorkbenchError, match=message):
        train_embedder(**{**given, **change})
    assert "trained/bad" not in models_trained.names()


def test_a_generator_is_no_base(tmp_path: Path):
    with pytest.raises(WorkbenchError, match="is no embedder, so it cannot be trained as one"):
        train_embedder(PAIRS, [], PASSAGES, str(save_tiny_generator(tmp_path)), "trained/bad")


def test_minilm_learns_the_demo(monkeypatch: pytest.MonkeyPatch):
    base = REAL_STORE / MINILM.replace("/", "--")
    if not base.is_dir():
        pytest.skip(f"run: workbench models pull {MINILM}")
    demo = data.load("demo-en")
    spans = [(example.question, example.evidence[0][0]) for example in demo.examples if example.evidence]
    pairs = [(question, demo.document(span.document_id).text[span.start : span.end + 100]) for question, span in spans[:16]]
    corpus = [document.text[:200] for document in demo.documents]
    plan = replace(DEFAULT_PLAN, epochs=3, learning_rate=1e-4, evaluate_every=9)
    made = train_embedder(pairs, pairs, corpus, str(base), "trained/minilm", plan)
    assert [point.step for point in made.points] == [0, 3]
    assert made.points[1].held_out_loss < 0.8 * made.points[0].held_out_loss
    assert (made.model.max_length, made.model.languages) == (256, ("en",))
    first, second = (create_embedder("st:trained/minilm", {"dtype": "float32"}) for _ in range(2))
    assert first.encode(corpus[:2], "passage").tobytes() == second.encode(corpus[:2], "passage").tobytes()
