"""The sentence-transformers embedder: a tiny random model made here, and the packaged models where they are stored (VX6, VX7, VX10)."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import TINY_LENGTH, save_tiny_model

from workbench import embedding_st, models
from workbench.datatypes import WorkbenchError
from workbench.embedding import create_embedder
from workbench.embedding_st import SentenceTransformersEmbedder

MINILM, E5 = "sentence-transformers/all-MiniLM-L6-v2", "intfloat/multilingual-e5-small"
DTYPES = sorted({"float32", embedding_st.native_dtype()})
TEXTS = [
    "",
    "How many days of paid leave does a new employee get?",
    "신입 사원은 만근한 달마다 하루의 유급 연차를 받습니다.",
    "👩‍👩‍👧‍👦🎉",
    "가나다라 " * 2000,
    "Overtime is booked in quarters of an hour. " * 8,
    *[f"문서 {number}: {'아주 ' * number}길다" for number in range(3)],
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "store"))


@functools.cache
def stored_model(name: str, dtype: str = "float32") -> SentenceTransformersEmbedder:
    """Return the embedder of a stored model, computing on the processor, or skip."""
    if not models.stored(name):
        pytest.skip(f"the model is not here; fetch it with: workbench models pull {name}")
    embedder = create_embedder(f"st:{name}", {"dtype": dtype})
    embedder._loaded.to("cpu")
    return embedder


# --- a tiny model in a folder ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("own_store")
def test_a_folder_is_a_model_by_absolute_and_relative_path(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = create_embedder(f"st:{tiny}").encode(TEXTS, "query")
    assert vectors.shape == (len(TEXTS), 32)
    monkeypatch.chdir(tiny.parent)
    relative = create_embedder("st:./model")
    assert relative.encode(TEXTS, "query").tobytes() == vectors.tobytes()
    assert relative.fingerprint["weights"] == create_embedder(f"st:{tiny}").fingerprint["weights"]


@pytest.mark.usefixtures("own_store")
def test_d2_d23_other_weights_and_dtypes_have_other_fingerprints(tiny: Path, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path, seed=1)
    shutil.copytree(tiny, tmp_path / "elsewhere" / "model")
    copy = tmp_path / "elsewhere" / "model"
    same, changed, narrow = (
        create_embedder(f"st:{folder}", {"dtype": dtype}).fingerprint | {"name": "model"}
        for folder, dtype in ((copy, "float32"), (other, "float32"), (tiny, "bfloat16"))
    )
    this = create_embedder(f"st:{tiny}", {"dtype": "float32"}).fingerprint | {"name": "model"}
    assert this == same
    assert this != changed
    assert {key for key in this if this[key] != narrow[key]} == {"dtype"}
    assert this["max_length"] == TINY_LENGTH


@pytest.mark.usefixtures("own_store")
def test_vx7_a_long_text_is_cut_and_lengths_tell(tiny: Path) -> None:
    embedder = create_embedder(f"st:{tiny}", {"dtype": "float32", "passage_prefix": "p: "})
    whole = "abcdefgh" * 5 + "xyz"  # with prefix and two special tokens exactly what the model reads
    assert embedder.lengths([whole, whole + "1", "", "가"], "passage").tolist() == [TINY_LENGTH, TINY_LENGTH + 1, 5, 8]
    assert embedder.lengths([whole], "query").tolist() == [TINY_LENGTH - 3]
    vectors = embedder.encode([whole, whole + "1", whole + "9" * 10_000, whole[:-1]], "passage")
    assert vectors[0].tobytes() == vectors[1].tobytes() == vectors[2].tobytes() != vectors[3].tobytes()
    assert embedder.lengths([], "query").tolist() == []


@pytest.mark.usefixtures("own_store")
def test_prefixes_come_from_the_model_unless_given(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "tiny-e5"))
    with pytest.raises(WorkbenchError, match="E5 or BGE family, but nothing states its prefixes"):
        create_embedder(f"st:{folder}")
    with pytest.raises(WorkbenchError, match="nothing states its prefixes"):
        create_embedder(f"st:{folder}", {"query_prefix": "q: "})
    assert create_embedder(f"st:{folder}", {"query_prefix": "q: ", "passage_prefix": ""}).prefixes == {"query": "q: ", "passage": ""}
    configuration = folder / "config_sentence_transformers.json"
    own = json.loads(configuration.read_text(encoding="utf-8")) | {
        "prompts": {"query": "Q ", "document": "D "},
        "default_prompt_name": "query",
    }
    configuration.write_text(json.dumps(own), encoding="utf-8")
    stated = create_embedder(f"st:{folder}")
    assert stated.prefixes == {"query": "Q ", "passage": "D "}
    assert create_embedder(f"st:{folder}", {"passage_prefix": "P "}).prefixes == {"query": "Q ", "passage": "P "}
    plain = create_embedder(f"st:{tiny}")
    assert stated.encode(["x"], "passage").tobytes() == plain.encode(["D x"], "passage").tobytes()  # and not its default prompt as well


@pytest.mark.usefixtures("own_store")
def test_a_model_without_a_fast_tokenizer_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "old"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WorkbenchError, match=r"the model '.*old' has no tokenizer\.json; save it again with a fast tokenizer"):
        create_embedder(f"st:{folder}").encode(["x"], "query")


@pytest.mark.usefixtures("own_store")
def test_a_text_without_any_token_is_named(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "bare"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")) | {"post_processor": None}  # no special tokens
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(WorkbenchError, match="a zero vector for 1 of 2 texts, first: ''"):
        create_embedder(f"st:{folder}").encode(["x", ""], "query")


@pytest.mark.usefixtures("own_store")
def test_a_folder_that_is_no_model_is_named(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "broken"))
    (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WorkbenchError, match=r"the model '.*broken' cannot be loaded: .*config\.json"):
        create_embedder(f"st:{folder}").encode(["x"], "query")


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("bfloat", r"unknown embedder\.dtype 'bfloat'; did you mean 'bfloat16'\? \(available: auto, bfloat16, float32\)"),
        ("fp32", r"unknown embedder\.dtype 'fp32'"),
        (32, r"unknown embedder\.dtype '32'"),
        (None, r"unknown embedder\.dtype 'None'"),
    ],
)
def test_dtypes_that_do_not_exist(dtype: Any, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        create_embedder("st:anything", {"dtype": dtype})


def test_d25_models_that_are_not_here() -> None:
    with pytest.raises(WorkbenchError, match=r"unknown model 'all-MiniLM-L6-v2'; did you mean 'sentence-transformers/all-MiniLM-L6-v2'\?"):
        create_embedder("st:all-MiniLM-L6-v2")
    with pytest.raises(WorkbenchError, match="model owner/nothing is not here; fetch it once: workbench models pull owner/nothing"):
        create_embedder("st:owner/nothing")


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("flags\t: fpu avx2 avx512f avx512_bf16 amx_tile", "bfloat16"),
        ("flags\t: fpu avx512f amx_bf16", "bfloat16"),
        ("flags\t: fpu avx2 avx512f avx512_vnni", "float32"),
        ("Features\t: fp asimd 한", "float32"),
        (None, "float32"),
    ],
)
def test_auto_takes_bfloat16_where_the_processor_has_it(
    flags: str | None, dtype: str, tiny: Path, own_store: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flags:
        (tmp_path / "cpuinfo").write_text(flags, encoding="utf-8")
    monkeypatch.setattr(embedding_st, "CPU_FLAGS", tmp_path / "cpuinfo")
    embedding_st.native_dtype.cache_clear()
    try:
        embedder = create_embedder(f"st:{tiny}")
    finally:
        embedding_st.native_dtype.cache_clear()
    assert embedder.fingerprint["dtype"] == dtype
    assert embedder.precision == f"fp32 weights, {dtype} arithmetic"
    assert str(next(embedder._loaded.parameters()).dtype) == f"torch.{dtype}"


# --- the packaged models ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [MINILM, E5])
def test_vx10_a_vector_is_the_same_alone_and_in_any_batch(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = stored_model(name, dtype)
    vectors = embedder.encode(TEXTS, "passage")
    assert vectors.shape == (len(TEXTS), 384)
    assert np.abs(np.linalg.norm(vectors.astype(float), axis=1) - 1).max() < 1e-6
    assert np.concatenate([embedder.encode([text], "passage") for text in TEXTS]).tobytes() == vectors.tobytes()
    order = np.random.default_rng(3).permutation(len(TEXTS))
    monkeypatch.setattr(embedder, "batch_size", 3)
    assert embedder.encode([TEXTS[row] for row in order], "passage").tobytes() == vectors[order].tobytes()


@pytest.mark.parametrize("name", [MINILM, E5])
def test_float32_equals_sentence_transformers(name: str) -> None:
    embedder = stored_model(name)
    expected = embedder._loaded.encode([embedder.prefixes["passage"] + text for text in TEXTS], normalize_embeddings=True)
    assert np.abs(embedder.encode(TEXTS, "passage") - expected).max() < 1e-6


@pytest.mark.parametrize("name", [MINILM, E5])
def test_native_arithmetic_is_close_to_float32(name: str) -> None:
    exact, native = (stored_model(name, dtype).encode(TEXTS, "query") for dtype in ("float32", embedding_st.native_dtype()))
    assert (exact * native).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("dtype", DTYPES)
def test_vx6_e5_tells_questions_from_passages_and_minilm_does_not(dtype: str) -> None:
    embedder, texts = stored_model(E5, dtype), TEXTS[:4]
    assert (embedder.encode(texts, "query") != embedder.encode(texts, "passage")).any(axis=1).all()
    assert embedder.prefixes == {"query": "query: ", "passage": "passage: "}
    embedder = stored_model(MINILM, dtype)
    assert embedder.encode(texts, "query").tobytes() == embedder.encode(texts, "passage").tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_korean_question_is_nearest_to_its_answer(dtype: str) -> None:
    embedder = stored_model(E5, dtype)
    questions = ["새로 들어온 직원은 휴가를 며칠 쓸 수 있나요?", "세탁기 배수 필터는 얼마나 자주 청소하나요?", "토요일에도 진료를 보나요?"]
    passages = [
        "신입 사원은 만근한 달마다 하루의 유급 연차를 받습니다.",
        "배수 필터에 이물질이 끼지 않도록 한 달에 한 번 씻어 주십시오.",
        "주말 진료는 토요일 오전 9시부터 오후 1시까지입니다.",
        "택배 요금은 무게와 크기에 따라 정해집니다.",
    ]
    scores = embedder.encode(questions, "query") @ embedder.encode(passages, "passage").T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("name", "limit"), [(MINILM, 256), (E5, 512)])
def test_vx7_packaged_models_read_their_first_tokens_only(name: str, limit: int) -> None:
    embedder = stored_model(name)
    words = ["river", "stone", "water"] * limit
    whole = next(text for text in (" ".join(words[:n]) for n in range(limit)) if embedder.lengths([text], "query") == limit)
    vectors = embedder.encode([whole, f"{whole} water " * 3, whole.rpartition(" ")[0]], "query")
    assert vectors[0].tobytes() == vectors[1].tobytes() != vectors[2].tobytes()
    assert embedder.lengths(["x " * 10_000], "query")[0] > 10_000
