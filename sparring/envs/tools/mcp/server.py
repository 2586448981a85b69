"""A server of the Model Context Protocol in a process of its own, spoken to through the official SDK.

    with Server(["python", "notes_server.py"]) as server:
        print([tool.name for tool in server.tools()])
        print(server.call("add_note", {"text": "milk"}))

The SDK is asynchronous: it runs in a thread of its own. Each wait has an end: a server that hangs, dies or breaks the
protocol raises `EnvFailed`, which costs an episode, and its process group is killed. The process is given the SDK's
default environment (`PATH`, `HOME` and the like) and none of the caller's secrets.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sparring.envs.tools.schema import Tool, ToolError
from sparring.errors import EnvFailed, need

Result = TypeVar("Result")

_MOST_TOOLS = 256
_MOST_PAGES = 64
_MOST_CHARACTERS = 1_000_000
# JSON-RPC codes of the SDK after which there is no server to speak to.
_GONE = (-32000, -32001)


class Server:
    """A running server.

    Args:
        command: the program and its arguments. It is run as it is, without a shell.
        start_timeout_s, call_timeout_s: how long starting and each request may take.
    Raises:
        EnvFailed: it did not start. MissingExtra: the package mcp is not installed.
    """

    def __init__(self, command: Sequence[str], *, start_timeout_s: float = 30, call_timeout_s: float = 30) -> None:
        need("mcp", "mcp")
        from anyio.from_thread import start_blocking_portal

        self._call_timeout_s = call_timeout_s
        self._name = command[0]
        self._stack = ExitStack()
        try:
            self._portal = self._stack.enter_context(start_blocking_portal())
            opened: AbstractAsyncContextManager[Any] = _connected(command, start_timeout_s)
            self._session = self._stack.enter_context(self._portal.wrap_async_context_manager(opened))
        except Exception as error:
            self.close()
            raise EnvFailed(
                f"the server {self._name} did not start within {start_timeout_s} s: {_why(error)}"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process; what goes wrong on the way is of no use to anyone."""
        try:
            self._stack.close()
        except Exception:
            pass

    def tools(self) -> list[Tool]:
        """What the server offers, in its order.

        Raises:
            EnvFailed: it does not answer, or offers more than anyone could read.
        """
        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = self._ask(self._page, cursor)
            found += [Tool(one.name, one.description or "", one.input_schema, _elsewhere) for one in page.tools]
            cursor = page.next_cursor
            if len(found) > _MOST_TOOLS or sum(len(json.dumps(tool.document)) for tool in found) > _MOST_CHARACTERS:
                break
            if cursor is None:
                return found
        raise EnvFailed(
            f"the server {self._name} offers more than {_MOST_TOOLS} tools, or describes them in more than "
            f"{_MOST_CHARACTERS:,} characters"
        )

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool, and return the text of its result.

        Raises:
            ToolError: the tool ran into an error. EnvFailed: the server does not answer.
        """
        result = self._ask(self._call, name, dict(arguments))
        text = "\n".join(one.text if one.type == "text" else f"[{one.type}]" for one in result.content)
        if result.is_error:
            raise ToolError(text or "the tool failed")
        return text

    async def _page(self, cursor: str | None) -> Any:
        from mcp.types import PaginatedRequestParams

        return await self._session.list_tools(params=PaginatedRequestParams(cursor=cursor))

    async def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        return await self._session.call_tool(name, arguments)

    def _ask(self, request: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Await a request in the SDK's thread, for as long as one may take."""
        from mcp.shared.exceptions import MCPError

        try:
            return self._portal.call(_within, self._call_timeout_s, request, *arguments)
        except TimeoutError as error:
            raise EnvFailed(f"the server {self._name} took longer than {self._call_timeout_s} s") from error
        except MCPError as error:
            if error.code in _GONE:
                raise EnvFailed(f"the server {self._name} is gone: {error.message}") from error
            raise ToolError(error.message) from error
        except Exception as error:
            raise EnvFailed(f"the server {self._name} broke the protocol: {_why(error)}") from error


async def _within(seconds: float, request: Callable[..., Awaitable[Result]], *arguments: Any) -> Result:
    import anyio

    with anyio.fail_after(seconds):
        return await request(*arguments)


@asynccontextmanager
async def _connected(command: Sequence[str], timeout_s: float) -> AsyncIterator[Any]:
    import anyio
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    class Session(ClientSession):
        async def validate_tool_result(self, name: str, result: Any) -> None:
            """Leave structured results alone, which nobody reads: a pattern in a schema of a server may take years."""

    parameters = StdioServerParameters(command=command[0], args=list(command[1:]), encoding_error_handler="replace")
    with Path(os.devnull).open("w") as log:
        async with stdio_client(parameters, errlog=log) as (received, sent), Session(received, sent) as session:
            with anyio.fail_after(timeout_s):
                await session.initialize()
            yield session


def _elsewhere(world: Any, **arguments: Any) -> Any:
    raise AssertionError("a server's tools are called on the server")


def _why(error: BaseException) -> str:
    """The first error of a group, in short."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:200]
