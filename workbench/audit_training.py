"""Check that no model was trained on the documents that a run asks about."""

from __future__ import annotations

from collections.abc import Sequence

from workbench import models, models_trained
from workbench.audit_checks import outcome
from workbench.datatypes import Dataset
from workbench.evaluation import Check
from workbench.registry import split_spec
from workbench.settings import Settings
from workbench.storage import fingerprint


def documents_read(texts: Sequence[str]) -> list[str]:
    """Return short fingerprints of documents, for the card of a model that was trained on them."""
    return sorted({fingerprint(text)[:16] for text in texts})


def audit_training(settings: Settings, dataset: Dataset) -> tuple[Check, ...]:
    """Return one check for each trained model: an error where it has read a document that evidence stands in.

    A model whose card names no documents (trained elsewhere) cannot be checked.
    """
    asked = {span.document_id for example in dataset.examples for unit in example.evidence for span in unit}
    texts = {fingerprint(document.text)[:16] for document in dataset.documents if document.id in asked}
    checks = []
    for spec in dict.fromkeys((settings.embedder, settings.generator)):
        name = split_spec(spec)[1] or ""
        if not name.startswith(models.TRAINED):
            continue
        known = texts.intersection(models_trained.card(name)["data"].get("documents_read", ()))
        problem = f"{name} was trained on {len(known)} of the {len(texts)} documents that are asked about; evaluate it on other documents"
        checks.append(outcome("trained_on_test", problem if known else "", "error", f"{name} has read no document that is asked about"))
    return tuple(checks)
