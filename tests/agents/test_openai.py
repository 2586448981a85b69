"""The OpenAI-compatible client against a real local server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparring
from sparring.agents.load import load_agent
from sparring.agents.openai import OpenAIPolicy, Retries, pick_action, request_messages, retry_after_s
from sparring.agents.scripted import RandomPolicy
from sparring.bench import BenchConfig, bench
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, PolicyFailed
from sparring.rollout import Setting, Start, rollout, rollout_async
from sparring.settings import EnvConfig
from sparring.testing import check_policy
from sparring.types import Action, ActionSet, Form, Message, Observation, Prompt
from tests.worlds import WORDS, Copy

KEY = "sk-very-secret"
AT_ONCE = Retries(attempts=3, first_wait_s=0.001)
Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Server:
    """Answers by `script`, one entry a request, the last for ever; keeps what it was asked."""

    script: list[Callable[[dict[str, Any]], Reply]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, request: dict[str, Any], headers: dict[str, str]) -> Reply:
        with self.lock:
            self.times.append(time.monotonic())
            self.requests.append(request)
            self.headers.append(headers)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        try:
            return answer(request)
        finally:
            with self.lock:
                self.at_once -= 1


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()} | {"path": self.path}
            status, extra, content = state.reply(body, headers)
            self.send_response(status)
            for name, value in {**extra, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up waiting is part of these tests."""

    listening = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{listening.server_port}/v1"
    yield state
    listening.shutdown()
    thread.join()
    listening.server_close()


def says(text: str | None, *, finish: str = "stop", usage: Any = None) -> Callable[[dict[str, Any]], Reply]:
    """A completion of `text`."""
    body = {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 4} if usage is None else usage,
    }
    return lambda request: (200, {}, json.dumps(body).encode())


def fails(status: int, body: str = "", **headers: str) -> Callable[[dict[str, Any]], Reply]:
    return lambda request: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body.encode())


def raw(body: str) -> Callable[[dict[str, Any]], Reply]:
    return fails(200, body)


def slow(seconds: float, then: Callable[[dict[str, Any]], Reply]) -> Callable[[dict[str, Any]], Reply]:
    def answer(request: dict[str, Any]) -> Reply:
        time.sleep(seconds)
        return then(request)

    return answer


def prompt(text: str = "red", number: int = 0) -> Prompt:
    messages = (Message("system", "Be brief."), Message("user", text))
    return Prompt(
        messages, Observation(text, ActionSet(WORDS)), "Say the word.", f"episode-{number}", 0, (number, 0, 0)
    )


def ask(server: Server, **settings: Any) -> Action:
    with OpenAIPolicy(server.url, "tiny-chat", **{"retries": AT_ONCE, **settings}) as policy:
        return policy.act([prompt()])[0]


def test_a_request_holds_what_a_server_needs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.script = [says(" blue\n")]
    found = ask(server, temperature=0.5, top_p=0.9, max_tokens=7)
    assert found == Action("blue", prompt_tokens=11, reported_tokens=4)
    assert found.sampled_tokens == 4
    (request,), (headers,) = server.requests, server.headers
    assert headers["path"] == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert (request["model"], request["temperature"], request["top_p"], request["max_tokens"]) == (
        "tiny-chat",
        0.5,
        0.9,
        7,
    )
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert request["messages"][1]["content"].startswith("red\n\nAnswer with one of these actions")
    assert request["messages"][1]["content"].endswith("gold\nplum")


def test_without_a_key_none_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.script = [says("red")]
    ask(server)
    assert "authorization" not in server.headers[0]


def test_the_key_may_stand_in_another_variable_and_is_kept_nowhere(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server.script = [says("red")]
    policy = OpenAIPolicy(server.url, "tiny-chat", key_variable="MY_KEY")
    policy.act([prompt()])
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(policy) and KEY not in repr(vars(policy))
    policy.close()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_troubles_are_asked_again(server: Server, status: int) -> None:
    server.script = [fails(status), fails(status), says("red")]
    assert ask(server).text == "red"
    assert len(server.requests) == 3
    assert server.requests[0] == server.requests[2]


def test_an_answer_that_is_no_json_is_asked_again(server: Server) -> None:
    server.script = [raw("<html>gateway</html>"), says("red")]
    assert ask(server).text == "red"


def test_a_slow_answer_is_given_up_and_asked_again(server: Server) -> None:
    server.script = [slow(3.0, says("late")), says("red")]
    assert ask(server, timeout_s=0.5).text == "red"


def test_retry_after_is_honoured(server: Server) -> None:
    server.script = [fails(429, Retry_After="0.3"), says("red")]
    ask(server)
    assert server.times[1] - server.times[0] >= 0.29


def test_retry_after_is_a_number_or_a_date() -> None:
    # 0 of the Unix epoch is Thursday, 1 January 1970, 00:00:00 GMT.
    assert retry_after_s("7.5", now=0) == 7.5
    assert retry_after_s("Thu, 01 Jan 1970 00:01:40 GMT", now=40) == 60
    assert retry_after_s("Thu, 01 Jan 1970 00:00:10 GMT", now=40) == 0
    assert retry_after_s("soon", now=0) is None
    assert retry_after_s("-3", now=0) == 0
    assert retry_after_s(None, now=0) is None


def test_pauses_double_and_are_bounded() -> None:
    retries = Retries(first_wait_s=1.0, longest_wait_s=5.0)
    rng = np.random.default_rng(0)
    for attempt, low, high in ((0, 0.75, 1.25), (1, 1.5, 2.5), (2, 3.0, 5.0), (9, 5.0, 5.0)):
        assert all(low <= retries.wait_s(attempt, None, rng) <= high for _ in range(50))
    assert retries.wait_s(0, 3.0, rng) == 3.0
    assert retries.wait_s(0, 3_600.0, rng) == 5.0


def test_it_gives_up_with_the_last_complaint(server: Server) -> None:
    server.script = [fails(500, "boom")]
    with pytest.raises(PolicyFailed, match=r"no answer in 3 attempts; the last: status 500: 'boom'\. Check that"):
        ask(server)
    assert len(server.requests) == 3


def test_nobody_there_is_said_so() -> None:
    with (
        OpenAIPolicy("http://127.0.0.1:9/v1", "m", retries=AT_ONCE) as policy,
        pytest.raises(
            PolicyFailed,
            match=r"127\.0\.0\.1:9/v1/chat/completions gave no answer in 3 attempts; the last: ConnectError",
        ),
    ):
        policy.act([prompt()])


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (400, "check the model's name"),
        (401, "Set the environment variable OPENAI_API_KEY"),
        (403, "may not use this model"),
        (404, "Check the model's name, and that the URL ends"),
        (302, "status 302"),
    ],
)
def test_a_refusal_is_final_and_says_what_to_do(server: Server, status: int, hint: str) -> None:
    server.script = [fails(status, "because")]
    with pytest.raises(PolicyFailed, match=hint):
        ask(server)
    assert len(server.requests) == 1


def test_a_key_that_the_server_echoes_is_struck_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for answer in (fails(401, f"bad key {KEY}"), fails(500, KEY), raw(KEY), raw(json.dumps({"you": KEY}))):
        server.script = [answer]
        with pytest.raises(PolicyFailed) as caught:
            ask(server)
        assert KEY not in str(caught.value) and "[key]" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        '{"choices": []}',
        '{"choices": [{"text": "red"}]}',
        '{"choices": [{"message": {"content": 7}}]}',
        '{"choices": [{"message": {"content": ["red"]}}]}',
        "null",
        "3",
    ],
)
def test_another_shape_is_shown(server: Server, body: str) -> None:
    server.script = [raw(body)]
    with pytest.raises(PolicyFailed, match=r"Expected choices\[0\]\.message\.content"):
        ask(server)


def test_a_full_context_ends_the_episode_and_not_the_benchmark(server: Server) -> None:
    server.script = [fails(400, '{"error": {"code": "context_length_exceeded"}}')]
    assert ask(server) == Action("", stop="context")
    server.script = [fails(400, '{"message": "This model\'s maximum context length is 2048 tokens."}')]
    assert ask(server).stop == "context"


def test_a_cut_or_empty_answer_is_an_action_all_the_same(server: Server) -> None:
    server.script = [says("re", finish="length")]
    assert ask(server) == Action("re", prompt_tokens=11, reported_tokens=4, stop="length")
    server.script = [says(None, usage={"prompt_tokens": None})]
    assert ask(server) == Action("")


def test_requests_run_side_by_side_up_to_the_limit(server: Server) -> None:
    server.script = [slow(0.05, says("red"))]
    with OpenAIPolicy(server.url, "tiny-chat", max_concurrency=3) as policy:
        actions = policy.act([prompt(number=n) for n in range(9)])
    assert [action.text for action in actions] == ["red"] * 9
    assert server.most_at_once == 3


def test_answers_stay_with_their_prompts(server: Server) -> None:
    def echo(request: dict[str, Any]) -> Reply:
        word = request["messages"][-1]["content"].split("\n")[0]
        time.sleep(0.03 if word == "red" else 0)
        return says(word)(request)

    server.script = [echo]
    with OpenAIPolicy(server.url, "tiny-chat") as policy:
        assert [one.text for one in policy.act([prompt(word) for word in WORDS])] == list(WORDS)


def test_equal_prompts_ask_for_equal_samples(server: Server) -> None:
    server.script = [says("red")]
    with OpenAIPolicy(server.url, "tiny-chat") as policy:
        check_policy(policy, [prompt(number=n) for n in range(3)])
    seeds = {json.dumps(request["messages"]): set() for request in server.requests}
    assert len(seeds) == 1
    assert len({request["seed"] for request in server.requests}) == 3


def test_it_plays_episodes_through_both_drivers(server: Server) -> None:
    server.script = [lambda request: says(request["messages"][-1]["content"].split("\n")[-11])(request)]
    starts = [Start(seed) for seed in range(6)]
    with OpenAIPolicy(server.url, "tiny-chat") as policy, EnvPool(Copy, 3) as pool:
        free = rollout_async(policy, pool, starts, Setting("tests/Copy-v1"))
        locked = rollout(policy, pool, starts, Setting("tests/Copy-v1"))
    assert free == locked
    assert all(one.error is None and one.turns[0].action.reported_tokens == 4 for one in free)


def test_a_benchmark_counts_its_tokens_and_never_writes_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", words=2)
    server.script = [says("red")]
    agent = load_agent(f"openai:org/tiny-chat@{server.url}")
    assert isinstance(agent.policy, OpenAIPolicy) and isinstance(agent.greedy, OpenAIPolicy)
    with agent.policy, agent.greedy:
        report = bench([agent], BenchConfig(EnvConfig("tests/Copy-v1"), tasks=3), tmp_path)
    assert [row.agent.rpartition(" ")[2] for row in report.rows] == ["(sampled)", "(greedy)"]
    assert [(row.episodes, row.sampled_tokens, row.prompt_tokens) for row in report.rows] == [(3, 8.0, 22.0)] * 2
    assert {request["temperature"] for request in server.requests} == {0.0, 1.0}
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 6 and not [path for path in written if KEY.encode() in path.read_bytes()]


def test_one_that_fails_for_good_stops_the_others(server: Server) -> None:
    server.script = [fails(401), fails(500)]
    patient = Retries(attempts=50, first_wait_s=0.05)
    with OpenAIPolicy(server.url, "tiny-chat", retries=patient, max_concurrency=1) as policy:
        with pytest.raises(PolicyFailed, match="status 401"):
            policy.act([prompt(number=n) for n in range(4)])
        asked = len(server.requests)
        time.sleep(0.2)
        assert len(server.requests) <= asked + 1


def test_a_closed_policy_leaves_no_thread_and_may_be_used_again(server: Server) -> None:
    server.script = [says("red")]
    policy = OpenAIPolicy(server.url, "tiny-chat")
    for _ in range(2):
        assert policy.act([prompt()])[0].text == "red"
        policy.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "openai-policy"]


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        ("click[red]", "click[red]"),
        ("I think of red.\n\nclick[red]", "click[red]"),
        ("Action: `search[blue shoes]`", "search[blue shoes]"),
        ("First click[red], or:\n**click[red]**\nsearch[a]\nThat is all.", "search[a]"),
        ("I do not know", "I do not know"),
        ("", ""),
    ],
)
def test_the_action_is_found_in_what_a_model_says(answer: str, action: str) -> None:
    assert pick_action(answer, ActionSet(("click[red]",), (Form("search[", "]"),))) == action
    assert pick_action(answer, None) == answer.strip()


def test_forms_are_explained_and_the_prompt_is_left_alone() -> None:
    asked = Prompt((Message("user", "shop"),), Observation("shop", ActionSet(("a",), (Form("search[", "]"),))))
    (message,) = request_messages(asked, list_actions=True)
    assert message["content"].endswith("\na\nsearch[…] (put your own words for …)")
    assert request_messages(asked, list_actions=False) == [{"role": "user", "content": "shop"}]


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "localhost:8000"},
        {"base_url": "file:///etc/passwd"},
        {"base_url": "http://user:secret@host/v1"},
        {"base_url": "http://host/v1?key=secret"},
        {"max_tokens": 0},
        {"max_concurrency": 0},
        {"timeout_s": 0},
    ],
)
def test_impossible_settings_are_refused_without_repeating_a_secret(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig) as caught:
        OpenAIPolicy(**{"base_url": "http://host/v1", "model": "m", **settings})
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidConfig):
        Retries(attempts=0)


def test_scripted_policies_are_not_concurrent() -> None:
    assert OpenAIPolicy.concurrent and not hasattr(RandomPolicy, "concurrent")
