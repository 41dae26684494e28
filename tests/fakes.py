"""Stand-ins for what tests cannot have: an OpenAI-compatible server that misbehaves on request, and a tiny sentence-transformers model."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

# status (0 hangs up), headers, body (pieces are sent one by one, without a length, and None among them is silence); None never answers
Reply = tuple[int, Mapping[str, str], bytes | Sequence[bytes | None]] | None
KEY = "sk-canary-1234567890"  # must turn up nowhere
DIMENSION = 8
TINY_LENGTH = 48  # tokens the tiny model reads


def embed(text: str) -> list[float]:
    """Give each text its own vector, not of unit length."""
    return np.random.default_rng([*hashlib.sha256(text.encode()).digest()]).normal(size=DIMENSION).tolist()


def embeddings(texts: Sequence[str]) -> dict[str, Any]:
    """Build the right reply of an /embeddings endpoint."""
    data = [{"object": "embedding", "index": index, "embedding": embed(text)} for index, text in enumerate(texts)]
    return {"object": "list", "data": data, "model": "fake", "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def completion(content: Any = "네.", finish_reason: Any = "stop", **fields: Any) -> dict[str, Any]:
    """Build the right reply of a /chat/completions endpoint; `fields` replace those of the reply, None removes one."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "fake", "choices": [choice], "usage": usage} | fields
    return {name: value for name, value in body.items() if value is not None}


def piece(content: Any = None, finish_reason: Any = None, **fields: Any) -> bytes:
    """Build one event of a streamed completion; `fields` replace those of the event."""
    choice = {"index": 0, "delta": {} if content is None else {"content": content}, "finish_reason": finish_reason}
    return event({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": [choice]} | fields)


def event(body: Any) -> bytes:
    """Build one server-sent event; text is sent as it is."""
    return f"data: {body if isinstance(body, str) else json.dumps(body)}\n\n".encode()


USAGE = piece(choices=[], usage=completion()["usage"])
DONE = event("[DONE]")


def streamed(*pieces: bytes | None, **headers: str) -> Callable[..., Reply]:
    """Make a reply that sends these pieces one by one; None among them is silence from there on."""
    headers = {"Content-Type": "text/event-stream"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: (200, headers, pieces)


def said(text: str) -> str:
    """Give what the right server answers to a text."""
    return f"[{text}]"


def reply(body: Any, status: int = 200, kind: str = "application/json", **headers: str) -> Callable[..., Reply]:
    """Make a reply that does not depend on the request; text is sent as it is, anything else as JSON."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return lambda request: (status, {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def right(request: Mapping[str, Any]) -> Reply:
    """Answer a request as it should be: an embedding of each text, or the last message in brackets, streamed letter by letter if asked."""
    if "input" in request:
        return reply(embeddings(request["input"]))(request)
    text = said(request["messages"][-1]["content"])
    if request.get("stream"):
        return streamed(piece(""), *map(piece, text), piece(finish_reason="stop"), USAGE, DONE)(request)
    return reply(completion(text))(request)


def silent(request: Mapping[str, Any]) -> Reply:
    """Never answer."""
    return None


def hang_up(request: Mapping[str, Any]) -> Reply:
    """Close the connection without a word."""
    return 0, {}, b""


class FakeServer:
    """Listen on a free port of 127.0.0.1; each request takes the next of `replies`, the last one again and again.

    Every request is kept in `requests` as (path, headers, body); several may come at once.
    """

    def __init__(self, *replies: Callable[[Mapping[str, Any]], Reply]) -> None:
        self.replies = list(replies) or [right]
        self.requests: list[tuple[str, Mapping[str, str], Any]] = []
        self._closing = threading.Event()
        self._lock = threading.Lock()
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
                with fake._lock:
                    fake.requests.append((self.path, self.headers, body))
                    take = fake.replies[min(len(fake.requests), len(fake.replies)) - 1]
                answer = take(body)
                if answer is None:
                    fake._closing.wait(30)
                elif answer[0]:
                    with contextlib.suppress(ConnectionError):  # the other side may go first
                        self._send(*answer)

            def _send(self, status: int, headers: Mapping[str, str], body: bytes | Sequence[bytes | None]) -> None:
                length = {"Content-Length": str(len(body))} if isinstance(body, bytes) else {}
                self.send_response(status, headers.get("Reason"))
                for name, value in (length | dict(headers)).items():
                    self.send_header(name, value)
                self.end_headers()
                for part in [body] if isinstance(body, bytes) else body:
                    if part is None:
                        fake._closing.wait(30)
                        return
                    self.wfile.write(part)

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
