"""A policy behind an OpenAI-compatible server (OpenAI, vLLM, llama.cpp, Ollama, …), for benchmarks.

Servers give no log-probabilities that a trainer could use, so this is no policy to train. The key is read from an
environment variable when a request is made, is stored nowhere, and is struck out of anything a server sends back.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from sparring.errors import InvalidConfig, PolicyFailed, need
from sparring.types import Action, ActionSet, Prompt

if TYPE_CHECKING:
    import httpx

_RETRIED = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))
_NO_JSON = object()
_SLOW = (
    "Check that the server keeps up; an OpenAIPolicy of your own takes a lower max_concurrency or a longer timeout_s"
)
_HINTS = {
    400: "The server does not accept this request: check the model's name and settings such as max_tokens.",
    401: "Set the environment variable {key} to a valid key.",
    403: "The key in the environment variable {key} may not use this model.",
    404: "Check the model's name, and that the URL ends where /chat/completions follows (often in /v1).",
    429: "Lower max_concurrency, or wait for the quota to be renewed.",
}


@dataclass(frozen=True, slots=True)
class Retries:
    """How patiently to ask again after 429, 5xx, a time-out, or an answer that is no JSON.

    Attributes:
        attempts: requests in all, the first one included.
        first_wait_s: pause before the second; it doubles each time, with up to a quarter more or less by chance.
        longest_wait_s: no pause is longer, whatever the server's Retry-After says.
    """

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_wait_s < 0 or self.longest_wait_s < 0:
            raise InvalidConfig(f"retries need at least 1 attempt and pauses of at least 0 s, got {self}")

    def wait_s(self, attempt: int, asked_s: float | None, rng: np.random.Generator) -> float:
        """Seconds to pause after attempt number `attempt` (from 0); `asked_s` is what the server asked for."""
        own = self.first_wait_s * 2**attempt * rng.uniform(0.75, 1.25)
        return float(min(own if asked_s is None else asked_s, self.longest_wait_s))


class OpenAIPolicy:
    """Asks a chat-completions server for each action.

    Requests run side by side in an event loop of the policy's own, so `act` and `aact` share connections. Close
    it, or use it as a context.

    Args:
        base_url: where `/chat/completions` follows, such as `http://localhost:8000/v1`.
        model: the name by which the server knows it.
        temperature, top_p, max_tokens: as the server understands them.
        list_actions: append the admissible actions to the last message, and take the line of the answer that is
            one of them. Without it the whole answer is the action.
        timeout_s: for one request. max_concurrency: requests at a time. retries: how often to ask again.
        key_variable: the environment variable that holds the key; without it, requests carry none.

    Raises:
        MissingExtra: httpx is not installed. InvalidConfig: a setting that can't be.
    """

    version = 0
    concurrent = True  # many requests at once, each answered in its own time

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_tokens: int = 256,
        list_actions: bool = True,
        timeout_s: float = 120.0,
        max_concurrency: int = 16,
        retries: Retries | None = None,
        key_variable: str = "OPENAI_API_KEY",
    ) -> None:
        need("httpx", "openai")
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidConfig(f'base_url must be like "http://localhost:8000/v1", got "{base_url}"')
        if parts.username or parts.password or parts.query:
            raise InvalidConfig(f"base_url must hold no key or password: put it into {key_variable}")
        for name, value in (("max_tokens", max_tokens), ("max_concurrency", max_concurrency), ("timeout_s", timeout_s)):
            if value <= 0:
                raise InvalidConfig(f"{name} must be above 0, got {value}")
        self.url = base_url.rstrip("/") + "/chat/completions"
        self.model, self.list_actions = model, list_actions
        self._settings = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        self._timeout_s, self._max_concurrency = timeout_s, max_concurrency
        self._retries = retries or Retries()
        self._key_variable = key_variable
        self._starting = threading.Lock()
        self._engine: _Engine | None = None

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """One answer a prompt.

        Raises:
            PolicyFailed: a request failed for good; the message says how to mend it.
        """
        return asyncio.run_coroutine_threadsafe(self._all(prompts), self._running().loop).result()

    async def aact(self, prompts: Sequence[Prompt]) -> list[Action]:
        """Like `act`, without blocking the caller's event loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._all(prompts), self._running().loop))

    def close(self) -> None:
        """Drop the connections and end the thread; the policy may be used again afterwards."""
        with self._starting:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def __enter__(self) -> OpenAIPolicy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> _Engine:
        with self._starting:
            if self._engine is None:
                self._engine = _Engine(self._timeout_s, self._max_concurrency)
            return self._engine

    async def _all(self, prompts: Sequence[Prompt]) -> list[Action]:
        requests = [asyncio.ensure_future(self._one(prompt)) for prompt in prompts]
        try:
            return list(await asyncio.gather(*requests))
        finally:  # one that failed for good must not leave the others asking on
            for request in requests:
                request.cancel()

    async def _one(self, prompt: Prompt) -> Action:
        engine = self._running()
        rng = np.random.default_rng(prompt.seed)
        body = {
            "model": self.model,
            "messages": request_messages(prompt, list_actions=self.list_actions),
            "seed": zlib.crc32(repr(prompt.seed).encode()) & 0x7FFFFFFF,
            **self._settings,
        }
        complaint, cure = "", ""
        for attempt in range(self._retries.attempts):
            asked_s: float | None = None
            try:
                async with engine.slots:
                    response = await engine.client.post(self.url, json=body, headers=self._headers())
            except engine.httpx.TransportError as error:
                complaint = f"{type(error).__name__} within {self._timeout_s} s: {error}"
                is_slow = isinstance(error, engine.httpx.TimeoutException)
                cure = _SLOW if is_slow else "Check the address, and that a server listens there"
            else:
                cure = _SLOW
                if response.status_code == 200:
                    answer = _json(response)
                    if answer is not _NO_JSON:
                        return self._action(answer, prompt)
                    complaint = f"an answer that is no JSON: {self._excerpt(response.text)}"
                elif response.status_code in _RETRIED:
                    complaint = f"status {response.status_code}: {self._excerpt(response.text)}"
                    asked_s = retry_after_s(response.headers.get("retry-after"), now=time.time())
                elif _context_is_full(response):
                    return Action("", stop="context")
                else:
                    raise self._failure(response.status_code, self._excerpt(response.text))
            if attempt + 1 < self._retries.attempts:
                await asyncio.sleep(self._retries.wait_s(attempt, asked_s, rng))
        raise PolicyFailed(
            f"{self.url} gave no answer in {self._retries.attempts} attempts; the last: {complaint}. {cure}"
        )

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._key_variable)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _excerpt(self, text: str) -> str:
        """The beginning of what a server said, without the key should it have echoed that."""
        key = os.environ.get(self._key_variable)
        return repr((text.replace(key, "[key]") if key else text)[:300])

    def _failure(self, status: int, said: str) -> PolicyFailed:
        hint = _HINTS.get(status, "").format(key=self._key_variable)
        return PolicyFailed(f'{self.url} refused "{self.model}" with status {status}: {said}. {hint}'.rstrip())

    def _action(self, answer: Any, prompt: Prompt) -> Action:
        try:
            choice = answer["choices"][0]
            content = choice["message"]["content"] or ""
            if not isinstance(content, str):
                raise TypeError(f"content is {type(content).__name__}")
        except (KeyError, IndexError, TypeError) as error:
            raise PolicyFailed(
                f"{self.url} answered with another shape than a chat completion ({type(error).__name__}: {error}): "
                f"{self._excerpt(repr(answer))}. Expected choices[0].message.content"
            ) from error
        usage = answer.get("usage")
        allowed = prompt.observation.actions if self.list_actions else None
        return Action(
            pick_action(content, allowed),
            prompt_tokens=_count(usage, "prompt_tokens"),
            reported_tokens=_count(usage, "completion_tokens"),
            stop="length" if choice.get("finish_reason") == "length" else "end",
        )


def request_messages(prompt: Prompt, *, list_actions: bool) -> list[dict[str, str]]:
    """A prompt's messages as the server wants them, the admissible actions at the end of the last one."""
    messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
    actions = prompt.observation.actions
    if list_actions and actions is not None and messages:
        lines = [
            *actions.choices,
            *(f"{form.prefix}…{form.suffix} (put your own words for …)" for form in actions.forms),
        ]
        messages[-1]["content"] += "\n\nAnswer with one of these actions, on a line of its own:\n" + "\n".join(lines)
    return messages


def pick_action(answer: str, actions: ActionSet | None) -> str:
    """The action in an answer: the last line that is admissible, or else the whole answer."""
    whole = answer.strip()
    if actions is None or actions.admits(whole):
        return whole
    lines = [line.strip(" `*").removeprefix("Action:").strip(" `*") for line in whole.splitlines()]
    return next((line for line in reversed(lines) if actions.admits(line)), whole)


def retry_after_s(header: str | None, *, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, which are given as a number or as a date; None without one.

    Source: RFC 9110, section 10.2.3.
    """
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now)
    except ValueError:
        return None


class _Engine:
    """An event loop in a thread, with a client and the slots that bound how many requests run in it."""

    def __init__(self, timeout_s: float, max_concurrency: int) -> None:
        import httpx

        self.httpx = httpx
        self.client: httpx.AsyncClient = httpx.AsyncClient(
            timeout=timeout_s, limits=httpx.Limits(max_connections=max_concurrency)
        )
        self.slots = asyncio.Semaphore(max_concurrency)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="openai-policy", daemon=True)
        self._thread.start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.client.aclose(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return _NO_JSON


def _context_is_full(response: httpx.Response) -> bool:
    """Whether a refusal says that the prompt is too long, in the words of OpenAI or of vLLM."""
    said = response.text.lower()
    return response.status_code in (400, 413) and (
        "context_length_exceeded" in said or "maximum context length" in said
    )


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else 0
