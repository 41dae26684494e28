"""Ask an OpenAI-compatible server: its address and key, the client, retries and errors, once for every part that asks one (LM1, LM2).

Address and key come from OPENAI_BASE_URL and OPENAI_API_KEY, never from settings; a judge on another server has WORKBENCH_JUDGE_BASE_URL
and WORKBENCH_JUDGE_API_KEY, both or neither, so that no server gets the key of another. Errors and logs quote nothing of what a
server sent, as it may repeat the key.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from workbench.datatypes import WorkbenchError

ATTEMPTS = 4
LOOK_SECONDS = 0.1  # between two looks whether a wait was stopped
LONGEST_WAIT_SECONDS = 60.0  # that a server may ask for; when it asks for more, we stop and say so
HOPELESS = {  # statuses that every other request would get as well
    401: "refused the key in OPENAI_API_KEY (401)",
    403: "answered 403 for model {model!r}; may the key in OPENAI_API_KEY use it?",
    404: "answered 404 for model {model!r}; is the model's name right, and OPENAI_BASE_URL (most end in /v1)?",
}
TOO_LONG = re.compile(r"context[ _](length|size|window)")  # OpenAI and llama.cpp say so in a code, vLLM in words
REFUSABLE = {  # parameters that some models refuse, and the option of the part that leaves them out
    "max_tokens": "cap_parameter to max_completion_tokens",
    "max_completion_tokens": "cap_parameter to max_tokens",
    "temperature": "temperature to null",
    "top_p": "top_p to null",
    "seed": "seed to null",
}
BROKEN = {  # by the class that the HTTP library raises
    "ConnectError": "cannot be reached; is OPENAI_BASE_URL right?",
    "RemoteProtocolError": "closed the connection before its reply was complete",
    "ReadError": "closed the connection before its reply was complete",
}
OWN, JUDGE = "OPENAI", "WORKBENCH_JUDGE"  # how the variables of the environment begin
LOGGERS = "openai openai._base_client httpx2 httpcore2.connection httpcore2.http11 httpcore2.http2 httpcore2.proxy httpcore2.socks".split()
T = TypeVar("T")


class EndpointError(WorkbenchError):
    """Say why a request failed.

    `transient`: asking again may help, after `wait` seconds where the server said so. `hopeless`: every other request would fail like this.
    `own`: the fault lies in what was asked, and tells nothing of other requests.
    """

    def __init__(
        self, message: str, *, transient: bool = False, wait: float | None = None, hopeless: bool = False, own: bool = False
    ) -> None:
        super().__init__(message)
        self.own = own
        self.transient = transient
        self.wait = wait
        self.hopeless = hopeless


class NotAskedError(EndpointError):
    """Say why no request was sent at all."""


class Endpoint:
    """Send requests for one model; `timeout` is in seconds, for connecting and for each silence of the server.

    `part` is who asks, "generator" or "judge": errors name its options, and a judge may have an address and a key of its own.
    """

    def __init__(self, model: str, timeout: float, part: str = "generator") -> None:
        self.part = part
        self.variables = _variables(part)
        self.model = model
        self.timeout = timeout
        self.base_url = _base_url(self.variables)
        self.server = f"the server at {self.base_url}"
        if _key(self.variables) in self.base_url.removeprefix("http"):
            raise WorkbenchError(
                self.named("OPENAI_BASE_URL holds the key of OPENAI_API_KEY, and it is stored with results; take the key out of it")
            )

    def named(self, message: str) -> str:
        """Return a message of ours with the names of the variables that this server has."""
        return message.replace("OPENAI_BASE_URL", f"{self.variables}_BASE_URL").replace("OPENAI_API_KEY", f"{self.variables}_API_KEY")

    @functools.cached_property
    def client(self) -> Any:
        """Return the openai client; it retries nothing itself."""
        import openai

        for name in LOGGERS:
            logging.getLogger(name).addFilter(_hide_key)
        return openai.OpenAI(api_key=_key(self.variables), base_url=self.base_url, max_retries=0, timeout=self.timeout)

    def ask(self, send: Callable[[Any], T], permit: Callable[[], str] = lambda: "", stop: Callable[[], bool] | None = None) -> T:
        """Return `send(client)`; what may pass is tried again (stamina), after the Retry-After of the server where it sent one.

        `permit` is called before every attempt and returns "", or why no more may be made; once `stop()` is true, such a wait ends.
        Raise EndpointError.
        """
        import stamina

        problem, tried = "", 0
        try:
            for attempt in stamina.retry_context(on=functools.partial(_pause, stop), attempts=ATTEMPTS, timeout=None):
                with attempt:
                    if reason := permit():
                        raise EndpointError(f"{problem}, not asked again: {reason}") if tried else NotAskedError(f"not asked: {reason}")
                    tried += 1
                    try:
                        return self._explained(lambda: send(self.client))
                    except EndpointError as error:
                        problem = str(error)
                        raise
        except EndpointError as error:
            if error.transient:
                raise EndpointError(f"{error} ({tried} attempts)") from None
            raise
        raise AssertionError("stamina returns or raises")

    def stream(
        self, send: Callable[[Any], Any], permit: Callable[[], str] = lambda: "", stop: Callable[[], bool] | None = None
    ) -> Iterator[Any]:
        """Yield the events of the stream that `send(client)` opens; after the first event nothing is tried again."""

        def first(client: Any) -> tuple[Any, Any]:
            stream = send(client)
            return stream, next(stream, None)

        stream, event = self.ask(first, permit, stop)
        with stream:
            while event is not None:
                yield event
                event = self._explained(lambda: next(stream, None), begun=True)

    def _explained(self, call: Callable[[], T], begun: bool = False) -> T:
        import openai

        try:
            return call()
        except (openai.OpenAIError, ValueError, OverflowError, RecursionError) as error:
            problem = self._explain(error, begun)
        raise problem  # out here, because an error raised while another is handled keeps that one, and all that the server sent

    def _explain(self, error: Exception, begun: bool) -> EndpointError:
        """Turn what the openai library raised, also for a stream that had begun, into an error of ours."""
        import openai

        where = " in the middle of the stream" if begun else ""
        if isinstance(error, openai.APITimeoutError):
            said = "fell silent for" if begun else "did not answer within"
            return EndpointError(f"{self.server} {said} {self.timeout:g} seconds{where}", transient=True)
        if isinstance(error, openai.APIConnectionError):
            kind = type(error.__cause__).__name__
            said = "closed the connection" if begun else BROKEN.get(kind, f"could not be asked ({kind})")
            return EndpointError(self.named(f"{self.server} {said}{where}"), transient=True)
        if isinstance(error, openai.APIStatusError):
            return self._explain_status(error)
        if isinstance(error, openai.OpenAIError):
            return EndpointError(f"{self.server} reported an error{where or ' instead of a reply'}")
        if isinstance(error, UnicodeEncodeError):
            return EndpointError(f"the text for model {self.model!r} holds half a surrogate pair, which cannot be sent; remove it")
        return EndpointError(self.named(f"{self.server} sent no valid JSON{where or '; is OPENAI_BASE_URL right?'}"))

    def _explain_status(self, error: Any) -> EndpointError:
        status = error.status_code
        if status in HOPELESS:
            return EndpointError(self.named(f"{self.server} {HOPELESS[status].format(model=self.model)}"), hopeless=True)
        message = f"{self.server} answered {status} for model {self.model!r}"
        if status == 400 and TOO_LONG.search(str(error.body)):
            return EndpointError(f"{message}: what was sent may be longer than the model's context window; send less", own=True)
        refused = str(error.param)
        if status == 400 and refused in REFUSABLE:
            return EndpointError(f"{message}: it refuses {refused}; set {self.part}.{REFUSABLE[refused]}")
        if status not in (408, 429) and status < 500:
            return EndpointError(message)
        wait = retry_after(error.response.headers.get("retry-after", ""))
        if wait and wait > LONGEST_WAIT_SECONDS:
            return EndpointError(f"{message} and asks to wait {wait:.0f} seconds; run again then", hopeless=True)
        return EndpointError(message, transient=True, wait=wait)


def retry_after(header: str) -> float | None:
    """Return the seconds that a Retry-After header asks to wait, a number or an HTTP date; None when it asks for nothing we can read."""
    if re.fullmatch(r"\d+(\.\d+)?", header, re.ASCII):
        return float(header)
    try:
        date = parsedate_to_datetime(header)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


def _pause(stop: Callable[[], bool] | None, error: Exception) -> bool | float:
    """Tell stamina whether to ask again, or after how many seconds; what can be stopped waits here."""
    if not isinstance(error, EndpointError) or not error.transient:
        return False
    if not error.wait or stop is None:
        return error.wait or True
    left = error.wait
    while left > 0 and not stop():
        time.sleep(min(left, LOOK_SECONDS))
        left -= LOOK_SECONDS
    return 0.0


def _variables(part: str) -> str:
    """Return how the names of the environment variables with address and key begin; a judge without an address has those of OPENAI."""
    own = part == "judge" and os.environ.get(f"{JUDGE}_BASE_URL")
    if part == "judge" and not own and os.environ.get(f"{JUDGE}_API_KEY"):
        raise WorkbenchError(f"{JUDGE}_API_KEY is set and {JUDGE}_BASE_URL is not, so the key would go nowhere; set both or neither")
    return JUDGE if own else OWN


def _base_url(variables: str) -> str:
    """Read the address; it goes into fingerprints and errors, so it must hold no secret, and is not quoted when it may."""
    url = (os.environ.get(f"{variables}_BASE_URL") or "https://api.openai.com/v1").rstrip("/")
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.split() == [url]
    except ValueError:  # an IPv6 address without its bracket, a port that is no number
        fine = False
    if not fine or "@" in parts.netloc or parts.query or parts.fragment:
        raise WorkbenchError(
            f"{variables}_BASE_URL must look like https://host:port/v1, without user name, password or query; "
            f"the key goes into {variables}_API_KEY"
        )
    return url


def _key(variables: str) -> str:
    """Read the key; it goes into the client and nowhere else."""
    key = os.environ.get(f"{variables}_API_KEY", "")
    if not key:
        raise WorkbenchError(f"{variables}_API_KEY is not set; export it (any text for a local server that asks for no key)")
    if not key.isascii() or key.split() != [key]:
        raise WorkbenchError(f"{variables}_API_KEY holds a space, a line break or a letter outside ASCII; no key does, set it again")
    return key


def _hide_key(record: logging.LogRecord) -> bool:
    """Take the keys out of what the HTTP libraries log: reply headers, and the words after the status."""
    for variables in (OWN, JUDGE):
        key = os.environ.get(f"{variables}_API_KEY")
        if key and key in (message := record.getMessage()):
            record.msg, record.args = message.replace(key, "[key]"), ()
    return True
