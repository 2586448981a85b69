"""A D-Bus connection that asks many questions at once and waits for no answer longer than it was told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparring.errors import need

# More would be no list of elements that anybody reads; the daemon disconnects a program that says more at once.
LONGEST_MESSAGE = 1 << 20

# What dbus-daemon is to do: everything, for everybody who reaches its socket. Of questions that are open at once it
# takes 128 alone, and answers others by errors, unless it is told a limit.
SETTINGS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
  </policy>
  <limit name="max_message_size">{longest}</limit>
  <limit name="max_replies_per_connection">50000</limit>
</busconfig>
"""
_DAEMON, _DAEMON_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"


@dataclass(frozen=True, slots=True)
class Call:
    """One question: to whom, about which object, the interface and the method, and the arguments with their types."""

    to: str
    path: str
    interface: str
    method: str
    signature: str = ""
    arguments: tuple[Any, ...] = ()


class Bus:
    """A connection to a bus.

    Args:
        address: such as `unix:path=/run/bus`. patience_s: who takes longer over an answer hangs.
    Raises:
        MissingExtra: jeepney is not installed. OSError: nobody listens there.
    """

    def __init__(self, address: str, patience_s: float) -> None:
        self.patience_s = patience_s
        self._jeepney = need("jeepney", "gui")
        self._connection: Any = need("jeepney.io.blocking", "gui").open_dbus_connection(address)
        self._connection.sock.settimeout(patience_s)  # of sending, to a daemon that no longer reads

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def ask(self, calls: Sequence[Call]) -> list[tuple[Any, ...] | None]:
        """The answers to all calls, in order; None for a call that was answered by an error.

        Raises:
            TimeoutError: an answer did not come. OSError: the bus is gone.
        """
        serials = [self._send(call) for call in calls]
        open, answers = set(serials), dict[int, tuple[Any, ...] | None]()
        deadline = time.monotonic() + self.patience_s
        fields, kinds = self._jeepney.HeaderFields, self._jeepney.MessageType
        while open:
            message = self._receive(deadline)
            serial = message.header.fields.get(fields.reply_serial)
            if serial in open:
                open.discard(serial)
                fine = message.header.message_type is kinds.method_return
                answers[serial] = tuple(message.body) if fine else None
        return [answers[serial] for serial in serials]

    def await_owner(self, name: str, patience_s: float) -> None:
        """Wait until somebody owns a name on the bus.

        Raises:
            TimeoutError: nobody did in time. OSError: the bus is gone.
        """
        rule = f"type='signal',sender='{_DAEMON}',member='NameOwnerChanged',arg0='{name}'"
        self.ask([Call(_DAEMON, _DAEMON_PATH, _DAEMON, "AddMatch", "s", (rule,))])
        if self.ask([Call(_DAEMON, _DAEMON_PATH, _DAEMON, "NameHasOwner", "s", (name,))]) == [(True,)]:
            return
        deadline = time.monotonic() + patience_s
        while True:
            message = self._receive(deadline)
            is_signal = message.header.message_type is self._jeepney.MessageType.signal
            if is_signal and message.body[0] == name and message.body[2]:
                return

    def process_of(self, name: str) -> int:
        """The process id of who owns a name; 0 where it is gone."""
        found = self.ask([Call(_DAEMON, _DAEMON_PATH, _DAEMON, "GetConnectionUnixProcessID", "s", (name,))])[0]
        return int(found[0]) if found else 0

    def _send(self, call: Call) -> int:
        address = self._jeepney.DBusAddress(call.path, bus_name=call.to, interface=call.interface)
        message = self._jeepney.new_method_call(address, call.method, call.signature or None, call.arguments)
        serial = next(self._connection.outgoing_serial)
        self._connection.send(message, serial=serial)
        return int(serial)

    def _receive(self, deadline: float) -> Any:
        return self._connection.receive(timeout=max(deadline - time.monotonic(), 0.001))
