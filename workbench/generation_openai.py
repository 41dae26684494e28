"""Generate with any OpenAI-compatible server; a faulty reply is an error and never a text (LM1)."""

from __future__ import annotations

import contextlib
import functools
import math
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from workbench import registry
from workbench.datatypes import Completion, Conversation
from workbench.endpoint import Endpoint, EndpointError
from workbench.generation import STOPPED, check_number, never
from workbench.generation_openai_gate import Gate
from workbench.generation_openai_stop import stoppable

CAP_PARAMETERS = ("max_tokens", "max_completion_tokens")
ENDINGS = {  # reasons to finish that leave no complete text
    "content_filter": "cut the text with its content filter",
    "tool_calls": "called a tool, though it was offered none",
    "function_call": "called a function, though it was offered none",
}


class OpenAIGenerator:
    """Send conversations to the /chat/completions endpoint, `concurrency` at a time, and check every reply.

    `temperature` and `top_p` None are left to the server (some models refuse them); at temperature 0 `top_p` decides nothing and is not
    sent. `cap_parameter` carries `max_new_tokens`: OpenAI's newer models want max_completion_tokens, most other servers know max_tokens.
    `timeout` is in seconds, for each silence of the server. No request starts after `max_calls` (attempts) or `max_seconds` (spent in
    here) of this generator; 0 is no limit. After 5 failed conversations in a row, or an error that all would meet, a call asks no more.
    """

    def __init__(
        self,
        argument: str,
        part: str = "generator",
        *,
        max_new_tokens: int = 256,
        temperature: float | None = 0.0,
        top_p: float | None = 1.0,
        seed: int | None = None,
        cap_parameter: str = "max_tokens",
        concurrency: int = 4,
        timeout: float = 60.0,
        max_calls: int = 0,
        max_seconds: float = 0.0,
    ) -> None:
        for package in ("openai", "stamina"):
            registry.require(package, "openai", f"{part} 'openai:{argument}'")
        check = functools.partial(check_number, part=part)
        check("max_new_tokens", max_new_tokens, 1, whole=True)
        check("temperature", 0 if temperature is None else temperature, 0)
        check("top_p", 1 if top_p is None else top_p, 0, 1)
        check("seed", 0 if seed is None else seed, -math.inf, whole=True)
        check("concurrency", concurrency, 1, whole=True)
        check("timeout", timeout, 0.001)
        check("max_calls", max_calls, 0, whole=True)
        check("max_seconds", max_seconds, 0)
        if cap_parameter not in CAP_PARAMETERS:
            raise registry.unknown(f"{part}.cap_parameter", str(cap_parameter), CAP_PARAMETERS)
        self.model = argument
        self.max_new_tokens = max_new_tokens
        self.cap_parameter = cap_parameter
        self.sampling = {
            "temperature": None if temperature is None else float(temperature),
            "top_p": None if top_p is None or temperature == 0 else float(top_p),
            "seed": seed,
        }
        self.concurrency = concurrency
        self._endpoint = Endpoint(argument, timeout, part)
        self._gate = Gate(part, max_calls, max_seconds)

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        return {
            "name": f"openai:{self.model}",
            "version": 1,
            "server": self._endpoint.base_url,
            "max_new_tokens": self.max_new_tokens,
            "cap_parameter": self.cap_parameter,
            **self.sampling,
            "sampled": self.sampling["temperature"] != 0 and self.sampling["seed"] is None,
        }

    def overflows(self, conversations: Sequence[Conversation]) -> list[int]:
        """Return zeros: the server's tokenizer is not known here, and a prompt that is too long comes back as an error."""
        return [0] * len(conversations)

    def generate(self, conversations: Sequence[Conversation], done: Callable[[int, Completion], None] | None = None) -> list[Completion]:
        """Return a completion for each conversation, in order; while none has worked the first goes alone, so a wrong key is sent once.

        `done` gets the number and the completion of each in the order in which they come, in the thread of the caller.
        """
        alone = 0 if self._gate.works else 1
        completions: dict[int, Completion] = {}

        def keep(number: int, completion: Completion) -> None:
            completions[number] = completion
            if done:
                done(number, completion)

        pool = ThreadPoolExecutor(self.concurrency)
        with self._gate.opened():
            try:
                for number in range(len(conversations))[:alone]:
                    keep(number, self._completed(conversations[number]))
                replies = {pool.submit(self._completed, conversations[number]): number for number in range(alone, len(conversations))}
                for reply in as_completed(replies):
                    keep(replies[reply], reply.result())
            finally:  # an interrupt leaves only the requests that are out
                pool.shutdown(wait=False, cancel_futures=True)
        return [completions[number] for number in range(len(conversations))]

    def stream(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool] = never) -> Completion:
        """Return one completion; what was said of a stream that fails later stays said, so show the error of the completion with it.

        Soon after `stop()` is true the connection is cut, which ends the work of a server that looks.
        """
        with self._gate.opened():
            return self._settled(lambda: self._streamed(conversation, say, stop))

    def size(self, conversation: Conversation) -> None:
        """Return None: the server's tokenizer is not known here."""

    def _completed(self, conversation: Conversation) -> Completion:
        return self._settled(lambda: self._reply(conversation))

    def _settled(self, complete: Callable[[], Completion]) -> Completion:
        try:
            completion = complete()
        except EndpointError as error:
            self._gate.failed(error)
            return Completion("", "error", error=str(error))
        if not completion.error:  # one that was stopped tells nothing
            self._gate.worked()
        return completion

    def _request(self, conversation: Conversation) -> dict[str, Any]:
        messages = [{"role": message.role, "content": message.content} for message in conversation.messages]
        parameters = {self.cap_parameter: self.max_new_tokens} | self.sampling
        return {"model": self.model, "messages": messages} | {name: value for name, value in parameters.items() if value is not None}

    def _reply(self, conversation: Conversation) -> Completion:
        request = self._request(conversation)
        started, reply = self._endpoint.ask(
            lambda client: (time.perf_counter(), client.chat.completions.create(**request)), self._gate.permit
        )
        seconds = time.perf_counter() - started
        if isinstance(reply, str):
            raise self._fault("sent a page or plain text, no chat completion; is OPENAI_BASE_URL right?")
        choice = self._only_choice(reply)
        if choice is None:
            raise self._fault("sent no choices")
        message = getattr(choice, "message", None)
        finish = getattr(choice, "finish_reason", None)
        if finish is None:
            raise self._fault("did not say why the text ends (finish_reason), so it may be cut")
        return self._checked(getattr(message, "content", None), finish, getattr(reply, "usage", None), seconds)

    def _streamed(self, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool]) -> Completion:
        pieces: list[str] = []
        started = time.perf_counter()
        try:
            with stoppable(self._endpoint.client, stop) as client:
                return self._followed(client, conversation, say, stop, pieces)
        except EndpointError:
            if not stop():
                raise
        text = unicodedata.normalize("NFC", "".join(pieces))
        return Completion(text, "stopped", seconds=time.perf_counter() - started, error=STOPPED)

    def _followed(
        self, client: Any, conversation: Conversation, say: Callable[[str], None], stop: Callable[[], bool], pieces: list[str]
    ) -> Completion:
        """Return the completion of a stream, and keep its pieces as they come; raise EndpointError when it is stopped."""
        request = self._request(conversation) | {"stream": True, "stream_options": {"include_usage": True}}
        started, finish, usage, event = 0.0, None, None, None

        def send(_client: Any) -> Any:
            nonlocal started
            started = time.perf_counter()
            return client.chat.completions.create(**request)

        def permit() -> str:
            return STOPPED if stop() else self._gate.permit()

        with contextlib.closing(self._endpoint.stream(send, permit, stop)) as events:
            for event in events:
                if stop():
                    raise EndpointError(STOPPED)
                usage = getattr(event, "usage", None) or usage
                choice = self._only_choice(event)  # None in an event that only tells the usage
                ending = getattr(choice, "finish_reason", None)
                content = getattr(getattr(choice, "delta", None), "content", None)
                if finish and (content or ending not in (None, finish)):
                    raise self._fault("went on after it had finished the text")
                finish = finish or ending
                if content is None:
                    continue
                if not isinstance(content, str):
                    raise self._fault("sent a content that is no text")
                pieces.append(content)
                if content:
                    say(content)
        if event is None:
            raise self._fault("sent no stream but a page, a whole reply or nothing; can it stream, is OPENAI_BASE_URL right?")
        if finish is None:
            raise self._fault(f"ended the stream before the text was finished, after {len(pieces)} pieces")
        return self._checked("".join(pieces) if pieces else None, finish, usage, time.perf_counter() - started)

    def _only_choice(self, reply: Any) -> Any:
        """Return the one choice of a reply or event, None when its list is empty."""
        choices = getattr(reply, "choices", None)
        if not isinstance(choices, list):
            raise self._fault("sent something that is no chat completion (it has no list of choices)")
        if len(choices) > 1 or any(getattr(choice, "index", None) not in (0, None) for choice in choices):
            raise self._fault("sent more than the one choice that was asked for")
        return choices[0] if choices else None

    def _checked(self, content: Any, finish: Any, usage: Any, seconds: float) -> Completion:
        """Build the completion of a whole text; raise EndpointError for any other."""
        if finish not in ("stop", "length"):
            known = ENDINGS.get(finish) if isinstance(finish, str) else None
            raise self._fault(known or "gave a reason to finish that we do not know", own=finish == "content_filter")
        if content is None:
            raise self._fault(f"sent no text (null); a model that reasons first may need a larger {self._endpoint.part}.max_new_tokens")
        if not isinstance(content, str):
            raise self._fault("sent a content that is no text")
        if any("\ud800" <= letter <= "\udfff" for letter in content):
            raise self._fault("sent a text with half a surrogate pair in it, which cannot be stored")
        prompt_tokens, completion_tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        if finish == "length" and completion_tokens is None:
            raise self._fault(
                f"cut the text and does not tell its tokens: whether our cap of {self.max_new_tokens} tokens did it cannot be known"
            )
        if finish == "length" and completion_tokens < self.max_new_tokens:
            raise self._fault(
                f"cut the text by its own limit after {completion_tokens} tokens (our cap is {self.max_new_tokens}); "
                "shorten the context or raise the server's limit"
            )
        return Completion(unicodedata.normalize("NFC", content), finish, prompt_tokens, completion_tokens, seconds)

    def _fault(self, what: str, own: bool = False) -> EndpointError:
        return EndpointError(self._endpoint.named(f"{self._endpoint.server} {what}"), own=own)


def _count(usage: Any, name: str) -> int | None:
    """Return a number of tokens, None where the server did not tell one."""
    count = getattr(usage, name, None)
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None
