"""Training an embedder: a tiny random model learns made-up synonyms, a killed training resumes to the same bytes, bad input is named."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import TINY_LENGTH, save_tiny_model

from workbench import data, models, models_trained
from workbench.datatypes import WorkbenchError
from workbench.embedding import create_embedder
from workbench.finetuning import Plan, train, training_folder
from workbench.finetuning_embedder import DEFAULT_PLAN, SCALE, ranking_loss, train_embedder

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
ASKED = "blorp snarg quell vimto dreck fizzle gump hasp jolt krill lunge mossy".split()
STATED = "kadiv onuro petax wubel sihoc zanig ryfot emuda caloq tibex hovun gwyze".split()
PASSAGES = [f"the {word} stands in hall {number}" for number, word in enumerate(STATED)]
FORMS = ("where is the {}", "find me a {}", "which hall has {}s", "{}: its place?")
PAIRS = [(form.format(word), passage) for word, passage in zip(ASKED, PASSAGES, strict=True) for form in FORMS[:3]]
HELD_OUT = [(FORMS[3].format(word), passage) for word, passage in zip(ASKED, PASSAGES, strict=True)]
PLAN = Plan(epochs=20, batch_size=12, learning_rate=2e-3, seed=0, checkpoint_every=25)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a tiny model that asks for prefixes."""
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
    configuration = folder / "config_sentence_transformers.json"
    stated = json.loads(configuration.read_text(encoding="utf-8")) | {"prompts": {"query": "Q ", "document": "D "}}
    configuration.write_text(json.dumps(stated), encoding="utf-8")
    return folder.rename(folder.with_name("tiny-e5"))


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


def recall(spec: str) -> float:
    """Return how many of the questions in a form never trained on find their passage first."""
    embedder = create_embedder(f"st:{spec}", {"dtype": "float32"})
    scores = embedder.encode([question for question, _ in HELD_OUT], "query") @ embedder.encode(PASSAGES, "passage").T
    return float((scores.argmax(axis=1) == np.arange(len(PASSAGES))).mean())
