"""Where models are put: on the machine's GPU if it has one, unless SPARRING_DEVICE says otherwise."""

from __future__ import annotations

import os

import torch

from sparring.errors import InvalidConfig

VARIABLE = "SPARRING_DEVICE"


def model_device() -> torch.device:
    """The device that models are loaded to.

    It belongs to the machine and not to a run, so that a run goes on elsewhere: the environment variable
    SPARRING_DEVICE names it as torch does (`cpu`, `cuda`, `cuda:1`, `mps`); without it, CUDA's current device where
    there is one, and else the CPU.

    Raises:
        InvalidConfig: the variable names no device, or one that torch does not find on this machine.
    """
    named = os.environ.get(VARIABLE, "").strip() or "auto"
    if named == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(named)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidConfig(
            f"{VARIABLE} is {named!r}, which torch can't use here ({str(error).splitlines()[0]}); set it to auto, cpu, "
            "or a device of this machine such as cuda or cuda:1"
        ) from error
    if device.type == "meta":
        raise InvalidConfig(f"{VARIABLE} is 'meta', which holds no numbers; set it to auto, cpu, cuda or cuda:1")
    return device
