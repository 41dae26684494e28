"""Generate with openvino-genai: prompts share each step of the model, and what many begin with is computed once."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench import models_onnx, models_openvino, registry, storage
from workbench.datatypes import Completion, Conversation, WorkbenchError
from workbench.embedding_st import native_dtype
from workbench.generation import STOPPED, never
from workbench.generation_hf import HFGenerator, _Row
from workbench.models_openvino_generator import VERSION, check_decoder, stored_decoder

PRECISIONS = {"bfloat16": "bf16", "float32": "f32"}
BLOCK = 32  # tokens of keys and values that are kept, shared and dropped together
STEP_TOKENS = 512  # computed in one step at most: most prompts at once; a stop ends the work within one


@dataclass
class _Request:
    """Hold a prompt, what was written after it, the handle to ask for more once it is in work, and the seconds it took."""

    row: _Row
    handle: Any = None
    seconds: float = 0.0


class OpenVINOGenerator(HFGenerator):
    """Run a causal language model of the store or a folder on conversations with OpenVINO, always taking the likeliest token.

    Prompts, ends of answers and token counts are those of `hf:`; the model becomes an OpenVINO graph at the first use, an adapter merged
    into it, and is kept in the store. `batch_tokens` bounds the tokens whose keys and values are held (never fewer than the model's
    window), of the prompts in work and of what was read before: a prompt that begins as another did is read from where they differ, in
    blocks of 32 tokens.

    `dtype` is the arithmetic, also of keys and values ("auto": bfloat16 where the processor has it). What else is in work, and the number
    of cores, decide how much is computed together, and so the last bits of the logits: near a tie, an answer can differ from the one
    alone, as between this and `hf:`. Conversations of one step share its time equally. Threads may ask at the same time: their prompts
    share steps.
    """

    def __init__(
        self,
        argument: str,
        allow_download: bool = False,
        *,
        max_new_tokens: int = 64,
        batch_tokens: int = 16384,
        dtype: str = "auto",
    ) -> None:
        for package in ("openvino", "openvino_genai"):
            registry.require(package, "fast", f"generator 'openvino:{argument}'")
        super().__init__(argument, allow_download, max_new_tokens=max_new_tokens, batch_tokens=batch_tokens, device="cpu", dtype=dtype)
        if self.dtype == "bfloat16" and native_dtype() != "bfloat16":
            raise WorkbenchError("generator.dtype 'bfloat16' needs a processor that computes in it; this one has 'float32'")
        check_decoder(self.model)
        self._numbers = itertools.count()
        self._loading, self._lock = threading.Lock(), threading.Lock()  # one model, one step at a time

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        packages = models_openvino.versions(("openvino", "openvino-genai"))
        return {**super().fingerprint, "name": f"openvino:{self.model.name}", "version": 1, "graph": VERSION, "packages": packages}

    def generate(self, conversations: Sequence[Conversation], done: Callable[[int, Completion], None] | None = None) -> list[Completion]:
        """Return a completion for each conversation, an error for one that is too long or that the chat template refuses.

        `done` gets the number and the completion of each as soon as it is written.
        """
        read = [self._read(conversation) for conversation in conversations]
        completions = [Completion("", "error", error=error) for _, error in read]
        requests = {number: _Request(_Row(tokens)) for number, (tokens, error) in enumerate(read) if not error}
        waiting = dict(requests)
        with closing(self._steps(list(requests.values()))) as steps:
            for _ in steps:
                for number in [number for number, request in waiting.items() if request.row.finish]:
                    request = waiting.pop(number)
                    completions[number] = self._completion(request.row, request.seconds)
                    if done:
                        done(number, completions[number])
        return completions

    def stream(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool] = never) -> Completion:
        """Return the completion that `generate` returns, and say its text in pieces of whole characters, until `stop()` is true.

        Only what later tokens change differs from the text: bytes that turn out to form no character, letters that compose across tokens.
        """
        tokens, error = self._read(conversation)
        if error:
            return Completion("", "error", error=error)
        request, said = _Request(_Row(tokens)), 0
        with closing(self._steps([request], stop)) as steps:
            for _ in steps:
                text = self._text(request.row)
                if len(text) > said:
                    say(text[said:])
                    said = len(text)
        if not request.row.finish:
            request.row.finish = "stopped"
            return replace(self._completion(request.row, request.seconds), error=STOPPED)
        return self._completion(request.row, request.seconds)

    def _steps(self, requests: Sequence[_Request], stop: Callable[[], bool] = never) -> Generator[None, None, None]:
        """Compute step by step until all requests are finished or `stop()` is true, and take what each step wrote.

        A prompt is put to work when the one before is read, as only then is known what they begin with; those that begin alike are
        neighbours. The time of a step is shared by the requests that have begun to write; while none has, it is that of the first.
        """
        waiting, running = sorted(requests, key=lambda request: request.row.prompt, reverse=True), []
        if requests:
            self._loaded  # noqa: B018 - loading takes none of their time
        try:
            while (waiting or running) and not stop():
                start = time.perf_counter()
                if waiting and all(request.row.written for request in running):
                    self._ask(waiting[-1])
                    running.append(waiting.pop())
                self._step()
                for request in running:
                    self._take(request)
                seconds = time.perf_counter() - start
                sharing = [request for request in running if request.row.written] or running[:1]
                for request in sharing:
                    request.seconds += seconds / len(sharing)
                running = [request for request in running if not request.row.finish]
                yield
        finally:
            for request in running:  # stopped, or left by an error
                self._drop(request)

    def _ask(self, request: _Request) -> None:
        """Put a prompt to work."""
        openvino = models_openvino.runtime()
        import openvino_genai

        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = self.max_new_tokens
        config.ignore_eos = not self._ends
        config.eos_token_id = min(self._ends, default=0)  # must be one of them, and there must be one
        config.stop_token_ids = set(self._ends) or {0}
        tokens = openvino.Tensor(np.array([request.row.prompt], np.int64))
        with self._lock, self._errors():
            request.handle = self._loaded.add_request(next(self._numbers), tokens, config)

    def _drop(self, request: _Request) -> None:
        """End a request here; the next step frees what it held, and does nothing else where nothing else is in work."""
        request.handle.cancel()
        self._step()

    def _step(self) -> None:
        with self._lock, self._errors():
            if self._loaded.has_non_finished_requests():  # another thread's step may have ended ours
                self._loaded.step()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise WorkbenchError(f"the model {self.model.name!r} failed in OpenVINO: {models_openvino.reason(error)}") from None

    def _take(self, request: _Request) -> None:
        """Add the tokens that were written for a request; end it where the model did not."""
        import openvino_genai

        row, handle, running = request.row, request.handle, openvino_genai.GenerationStatus.RUNNING
        before = handle.get_status()  # asked first: another thread's step may write meanwhile
        while handle.can_read() and not row.finish:
            for output in handle.read().values():
                for token in output.generated_ids:
                    if not row.finish:
                        self._append(row, token)
        if row.finish and handle.get_status() == running:  # a base model's line has ended
            self._drop(request)
        if not row.finish and before != running:
            held = f"the {self.batch_tokens} tokens that are held (generator.batch_tokens)"
            raise WorkbenchError(f"the model {self.model.name!r} gave up a prompt of {len(row.prompt)} tokens, which may exceed {held}")

    @functools.cached_property
    def _ends(self) -> frozenset[int]:
        """Return the tokens that end a text or a turn."""
        stated = self.model.path / "generation_config.json"
        ends = storage.read_json(stated if stated.is_file() else self.model.path / "config.json").get("eos_token_id")
        return frozenset([*(ends if isinstance(ends, list) else [ends]), self._tokenizer.end]) - {None}

    @property
    def _loaded(self) -> Any:
        with self._loading:
            return self._pipeline

    @functools.cached_property
    def _pipeline(self) -> Any:
        models_openvino.runtime()
        import openvino_genai

        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = -(-max(self.batch_tokens, self.model.max_length or 0) // BLOCK) + 1  # the longest prompt fits
        scheduler.max_num_batched_tokens = STEP_TOKENS
        scheduler.enable_prefix_caching = True
        precision = PRECISIONS[self.dtype]
        options = {"INFERENCE_PRECISION_HINT": precision, "KV_CACHE_PRECISION": precision, "ENABLE_CPU_PINNING": False}
        if threads := models_onnx.threads():
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            return openvino_genai.ContinuousBatchingPipeline(stored_decoder(self.model).parent, scheduler, "CPU", options)
        except RuntimeError as error:
            raise WorkbenchError(f"OpenVINO cannot load the model {self.model.name!r}: {models_openvino.reason(error)}") from None
