"""Check what the models of one run did: vectors, prefixes, cut texts, languages, the recall of an approximate index."""

from __future__ import annotations

import numpy as np

from workbench import models_onnx
from workbench.audit_checks import Evidence, outcome
from workbench.evaluation import Check
from workbench.registry import split_spec
from workbench.reranking import split_options
from workbench.retrieval import DENSE_RETRIEVERS
from workbench.text import guess_language

MAX_TRUNCATED = 0.01  # share of the texts
MIN_ANN_RECALL = 0.95
ROLES = ("query", "passage")
PROBED = 5  # questions whose best hit is embedded again
ROUNDING = 1e-3  # by which the length of a unit vector may be off


def vectors_finite(run: Evidence) -> Check:
    """Check that no score is NaN, that no question lost hits to a NaN vector, and that no vector is longer than 1 (VX1, VX2, VX4).

    The indexes refuse NaN, infinite, zero and other non-unit vectors when they are built and when they are searched, so such a run ends
    with an error that names the text (index.check_vectors). This looks at what came out, for a retriever without that guard.
    """
    name = split_spec(run.settings.retriever)[0]
    whole = name in DENSE_RETRIEVERS and not run.settings.filter
    products = name == "dense" and run.settings.reranker == "none"
    problem = ""
    for example, found in zip(run.dataset.examples, run.hits, strict=True):
        scores = np.array([hit.score for hit in found])
        if not np.isfinite(scores).all():
            problem = f"question {example.id!r} has a hit whose score is NaN or infinite"
        elif products and (np.abs(scores) > 1 + ROUNDING).any():
            problem = f"question {example.id!r} has a hit with a score of {scores[0]:.3f}: not all vectors have length 1"
        elif whole and len(found) < run.k:
            problem = f"question {example.id!r} has {len(found)} hits instead of {run.k}: its vector, or those of chunks, are NaN"
        if problem:
            break
    return outcome(
        "vectors_finite",
        problem,
        "error",
        "every score is a number, and no vector is missing" if name in DENSE_RETRIEVERS else "every score is a number",
    )


def roles(run: Evidence) -> Check:
    """Check that questions are embedded as queries and chunks as passages, with the prefixes that the model asks for (D1, VX6).

    What is embedded again here (a fixed text, some questions and their best chunks) is in the cache after the first run.
    """
    if run.embedder is None:
        return Check("roles", "ok", "not applicable: nothing is embedded")
    used = run.embedder.fingerprint.get("prefixes", {})
    used = {role: used.get(role, "") for role in ROLES}
    wanted = run.model.prefixes if run.model and run.model.prefixes else used
    if used["query"] != used["passage"]:
        query, passage = (run.embedder.encode(["workbench"], role) for role in ROLES)
        if np.allclose(query, passage, atol=1e-6):
            return Check("roles", "error", f"the prefixes {used} make no difference")
    if split_spec(run.settings.retriever)[0] == "dense" and run.settings.reranker == "none":
        text_of = dict(zip((chunk.id for chunk in run.chunks), run.texts, strict=True))
        best = [(example.question, found[0]) for example, found in zip(run.dataset.examples, run.hits, strict=True) if found][:PROBED]
        queries = run.embedder.encode([question for question, _ in best], "query")
        passages = run.embedder.encode([text_of[hit.chunk.id] for _, hit in best], "passage")
        if not np.allclose((queries * passages).sum(axis=1), [hit.score for _, hit in best], atol=1e-4):
            return Check("roles", "error", "hits do not have the scores of questions embedded as queries and chunks as passages")
    problem = f"the prefixes used are {used}, the model asks for {dict(wanted)}" if used != wanted else ""
    deliberate = {f"{role}_prefix" for role in ROLES} & run.settings.options.get("embedder", {}).keys()
    return outcome("roles", problem, "warning" if deliberate else "error", "questions are embedded as queries, chunks as passages")


def truncated(run: Evidence) -> Check:
    """Check that the embedder reads the chunks to their end (VX7)."""
    share = run.truncated_share
    if share is None or run.model is None:
        return Check("truncated", "ok", "not applicable: nothing is embedded, or the embedder states no limit")
    message = f"{share:.1%} of the chunks are longer than the {run.model.max_length} tokens that the embedder reads"
    return outcome("truncated", message if share > MAX_TRUNCATED else "", "warning", message)


def reranker_truncated(run: Evidence) -> Check:
    """Check that the reranker reads the passages it scores to their end: it cuts them where question and passage are too long together."""
    model = run.reranker
    if model is None or not model.max_length:
        return Check("reranker_truncated", "ok", "not applicable: nothing is reranked, or the reranker states no limit")
    tokenizer = models_onnx.load_tokenizer(model.name, model.path)
    room = model.max_length - tokenizer.num_special_tokens_to_add(is_pair=True)
    depth, _ = split_options(run.settings.options.get("reranker", {}))
    text_of = dict(zip((chunk.id for chunk in run.chunks), run.texts, strict=True))
    pairs = [
        (example.question, text_of[hit.chunk.id])
        for example, found in zip(run.dataset.examples, run.hits, strict=True)
        for hit in found[:depth]
    ]
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    size = {text: len(item.ids) for text, item in zip(texts, encoded, strict=True)}
    share = sum(size[question] + size[passage] > room for question, passage in pairs) / max(len(pairs), 1)
    message = f"{share:.1%} of the passages found are longer than the {model.max_length} tokens that the reranker reads with their question"
    return outcome("reranker_truncated", message if share > MAX_TRUNCATED else "", "warning", message)


def language(run: Evidence) -> Check:
    """Check that embedder and reranker know the language of the documents and of the questions (VX9)."""
    texts = {
        "documents": [document.text[:300] for document in run.dataset.documents[:200]],
        "questions": [example.question for example in run.dataset.examples[:200]],
    }
    found = {kind: guess_language(" ".join(sample)) for kind, sample in texts.items()}
    problems, known = [], [model for model in (run.model, run.reranker) if model and model.languages]
    for model in known:
        foreign = [f"the {kind} look {language!r}" for kind, language in found.items() if not model.knows(language)]
        if foreign:
            problems.append(f"{model.name} knows {', '.join(model.languages)}, but {' and '.join(foreign)}")
    if not known:
        return Check("language", "ok", "not applicable: no model, or its languages are unknown")
    return outcome("language", "; ".join(problems), "warning", "the models know the language of documents and questions")


def ann_recall(run: Evidence) -> Check:
    """Check that an approximate index finds what exact search finds (D17, VX11)."""
    if run.ann_recall is None:
        return Check("ann_recall", "ok", "not applicable: no approximate index")
    message = f"the index {run.settings.index!r} finds {run.ann_recall:.1%} of the {run.k} hits of exact search"
    return outcome("ann_recall", message if run.ann_recall < MIN_ANN_RECALL else "", "warning", message)
