"""The hash embedder: a control that knows words but no meaning, the same in every process and release."""

import hashlib

import numpy as np

from workbench.embedding import create_embedder


def test_hash_vectors_stay_as_they_are_in_every_process_and_release() -> None:
    vectors = create_embedder("hash", {"dimension": 64}).encode(["연차 휴가", "paid leave", ""], "query")
    counts = np.rint(vectors / np.abs(vectors).min(axis=1, where=vectors != 0, initial=1, keepdims=True)).astype(np.int8)
    assert hashlib.sha256(counts.tobytes()).hexdigest()[:16] == "21731a923e21ac4b"


def test_hash_knows_words_but_no_meaning() -> None:
    question, same_words, same_meaning = create_embedder("hash").encode(
        ["연차는 며칠인가요?", "연차는 휴가입니다", "쉬는 날이 얼마나 되죠?"], "query"
    )
    assert question @ same_words > 0.3 > question @ same_meaning


def test_hash_features_that_cancel_out_still_give_a_vector() -> None:
    embedder = create_embedder("hash", {"dimension": 8})
    vectors = embedder.encode([f"{number} {other}" for number in range(40) for other in range(40)], "query")
    assert np.isfinite(vectors).all()
    assert (vectors[:, 1:] == 0).all(axis=1).any()  # some did


def test_hash_takes_broken_text_and_tells_its_dimension() -> None:
    assert create_embedder("hash").encode(["\ud800", "\0", "\u200d"], "query").shape == (3, 256)
    assert create_embedder("hash").fingerprint != create_embedder("hash", {"dimension": 64}).fingerprint
