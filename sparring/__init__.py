"""sparring: a gym in which LLM agents learn by acting over many turns.

Importing it registers the built-in environments and costs neither torch nor any environment's own packages.
"""

from sparring.errors import SparringError
from sparring.registration import env_ids, make, register, register_builtins, register_wrapper
from sparring.types import (
    Action,
    ActionSet,
    Form,
    Image,
    Message,
    Observation,
    Policy,
    Prompt,
    Snapshot,
    SnapshotKind,
    Stop,
    Trajectory,
    Turn,
)

__version__ = "0.1.0"

__all__ = [
    "Action",
    "ActionSet",
    "Form",
    "Image",
    "Message",
    "Observation",
    "Policy",
    "Prompt",
    "Snapshot",
    "SnapshotKind",
    "SparringError",
    "Stop",
    "Trajectory",
    "Turn",
    "env_ids",
    "make",
    "register",
    "register_wrapper",
]

register_builtins()
