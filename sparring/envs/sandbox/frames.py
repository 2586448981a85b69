"""Messages between a sandbox's owner and the server in a container: a JSON header, and bytes that belong to it.

A message is two big-endian numbers of 32 bits, the sizes of header and bytes, and then these two. The owner trusts no
size that it reads beyond what it asked for: what comes out of a container may have been written by an attacker.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

from sparring.envs.sandbox.protocol import MIB, File, SandboxFailed

_SIZES = struct.Struct(">II")
LONGEST_HEADER = 4 * MIB  # long lists of names and long commands


def pack(header: Mapping[str, Any], data: bytes = b"") -> bytes:
    """A message as bytes."""
    text = json.dumps(header).encode()
    return _SIZES.pack(len(text), len(data)) + text + data


def take(read: Callable[[int], bytes], most: int) -> tuple[dict[str, Any], bytes]:
    """Read one message.

    Args:
        read: gives exactly that many bytes.
        most: how many bytes may belong to the header.
    Raises:
        SandboxFailed: it is larger, or no message.
    """
    header_size, size = _SIZES.unpack(read(_SIZES.size))
    if header_size > LONGEST_HEADER or size > most:
        raise SandboxFailed(f"a message of {header_size} and {size} bytes came; at most {LONGEST_HEADER} and {most} do")
    text = read(header_size)
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise SandboxFailed(f"no message of a sandbox's server: {text[:80]!r}")
    return header, read(size)


def described(file: File) -> dict[str, Any]:
    """The header for a file, whose data goes with it."""
    return {"path": file.path, "kind": file.kind, "mode": file.mode, "modified_ns": file.modified_ns}


def file(header: Mapping[str, Any], data: bytes) -> File:
    """The file behind `described`'s header.

    Raises:
        SandboxFailed: the header describes no file.
    """
    path, kind, mode, modified_ns = (header.get(name) for name in ("path", "kind", "mode", "modified_ns"))
    if kind not in ("file", "folder", "link") or not isinstance(path, str):
        raise SandboxFailed(f"no file of a workspace: {dict(header)}")
    if not isinstance(mode, int) or not isinstance(modified_ns, int):
        raise SandboxFailed(f"no file of a workspace: {dict(header)}")
    return File(path, kind, mode, data, modified_ns)
