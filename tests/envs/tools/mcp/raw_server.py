"""A server in plain JSON-RPC, which can say what the official SDK would not: the first argument names its fault."""

from __future__ import annotations

import json
import sys
from typing import Any

FAULT = sys.argv[1]
TOOL: dict[str, Any] = {"name": "look", "description": "Look.", "inputSchema": {"type": "object"}}
TOOLS: dict[str, Any] = {
    "a schema that says null": {"inputSchema": {"type": "object", "properties": None}},
    "a schema that refers to itself": {"inputSchema": {"type": "object", "$ref": "#"}},
    "a pattern that takes years": {
        "outputSchema": {"type": "object", "properties": {"text": {"type": "string", "pattern": "^(a+)+$"}}}
    },
    "a long description": {"description": "x" * 1_100_000},
    "no schema": {"inputSchema": 5},
}
RESULT = {"content": [{"type": "text", "text": "seen"}], "structuredContent": {"text": "a" * 40 + "!"}}


def answer(method: str, asked: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        version = asked["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "r", "version": "1"}}
    return {"tools": [{**TOOL, **TOOLS[FAULT]}]} if method == "tools/list" else RESULT


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        result = answer(request["method"], request.get("params", {}))
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
