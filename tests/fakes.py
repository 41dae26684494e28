"""Stand-ins for what tests cannot have: an OpenAI-compatible server that misbehaves on request, and a tiny sentence-transformers model."""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

Reply = tuple[int, Mapping[str, str], bytes] | None  # status, headers, body; None never answers
DIMENSION = 8
TINY_LENGTH = 48  # tokens the tiny model reads


def embed(text: str) -> list[float]:
    """Give each text its own vector, not of unit length."""
    return np.random.default_rng([*hashlib.sha256(text.encode()).digest()]).normal(size=DIMENSION).tolist()


def embeddings(texts: Sequence[str]) -> dict[str, Any]:
    """Build the right reply of an /embeddings endpoint."""
    data = [{"object": "embedding", "index": index, "embedding": embed(text)} for index, text in enumerate(texts)]
    return {"object": "list", "data": data, "model": "fake", "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def reply(body: Any, status: int = 200, kind: str = "application/json", **headers: str) -> Callable[..., Reply]:
    """Make a reply that does not depend on the request; text is sent as it is, anything else as JSON."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return lambda request: (status, {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def right(request: Mapping[str, Any]) -> Reply:
    """Answer an /embeddings request as it should be."""
    return reply(embeddings(request["input"]))(request)


def silent(request: Mapping[str, Any]) -> Reply:
    """Never answer."""
    return None


class FakeServer:
    """Listen on a free port of 127.0.0.1; each request takes the next of `replies`, the last one again and again.

    Every request is kept in `requests` as (path, headers, body).
    """

    def __init__(self, *replies: Callable[[Mapping[str, Any]], Reply]) -> None:
        self.replies = list(replies) or [right]
        self.requests: list[tuple[str, Mapping[str, str], Any]] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def __enter__(self) -> "FakeServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.requests.append((self.path, self.headers, body))
                answer = fake.replies[min(len(fake.requests), len(fake.replies)) - 1](body)
                if answer is None:
                    fake._closing.wait(30)
                    return
                status, headers, raw = answer
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(raw))} | dict(headers)).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        return Handler


def save_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Save a random two-layer sentence-transformers model that reads bytes; return its folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    vocabulary = {token: number for number, token in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=TINY_LENGTH, **names).save_pretrained(folder / "plain")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=TINY_LENGTH, initializer_range=0.2, **sizes)
        BertModel(config).save_pretrained(folder / "plain")
        modules = [Transformer(str(folder / "plain")), Pooling(32)]
        SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"), create_model_card=False)
    return folder / "model"
