"""Where tensors live: one function chooses the device, one moves a batch to it."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from .notes import once, record


def _available() -> list[str]:
    """Device types that this PyTorch build can use now, best first; always ends with ``cpu``."""
    kinds = []
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        if accelerator is not None:
            kinds.append(accelerator.type)
    return [kind for kind in ("cuda", "mps", "xpu") if kind in kinds] + ["cpu"]


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "xpu":
        return str(torch.xpu.get_device_name(device))
    return "Apple GPU" if device.type == "mps" else f"{torch.get_num_threads()} threads"


def try_device(request: str | None = None, *, quiet: bool = False) -> torch.device:
    """Return the best device of this machine: ``cuda``, then ``mps`` or ``xpu``, then ``cpu``.

    Parameters
    ----------
    request
        A device such as ``"cpu"`` or ``"cuda:1"``. Without it the environment variable
        ``D2L_DEVICE`` is asked, and ``"auto"`` (the default) takes the best one.
    quiet
        Do not print the one line that says which device was chosen (it is printed once a process).

    Raises
    ------
    ValueError
        If the device asked for does not exist here. The message names it and what there is.

    Examples
    --------
    >>> try_device("cpu", quiet=True)
    device(type='cpu')
    """
    asked = request or os.environ.get("D2L_DEVICE") or "auto"
    kinds = _available()
    try:
        device = torch.device(kinds[0] if asked == "auto" else asked)
    except RuntimeError as error:
        raise ValueError(
            f"{asked!r} is not a device name. Use 'auto' or one of {', '.join(kinds)} "
            "(argument `request` or environment variable D2L_DEVICE)."
        ) from error
    count = torch.accelerator.device_count() if device.type != "cpu" else 1
    if device.type not in kinds or (device.index or 0) >= count:
        raise ValueError(
            f"Device {asked!r} is not available on this machine, which has: "
            f"{', '.join(kinds)}. Set D2L_DEVICE=auto, or install a PyTorch build for that device."
        )
    record({"device": "cpu" if device.type == "cpu" else f"{device.type}:{device.index or 0}"})
    if not quiet:
        name = "cpu" if device.type == "cpu" else f"{device} ({_name(device)})"
        once.say(f"device: {name}")
    return device


def to_device(batch: Any, device: torch.device | str) -> Any:
    """Move every tensor of a nested batch to a device; everything else passes unchanged.

    Parameters
    ----------
    batch
        A tensor, or a tuple, list or mapping of batches. Named tuples keep their type; a mapping
        becomes a dict.
    device
        Where the tensors go. A tensor that is there already is not copied.

    Examples
    --------
    >>> X, y = to_device((torch.zeros(2, 3), torch.ones(2)), "cpu")
    >>> X.shape, y.device
    (torch.Size([2, 3]), device(type='cpu'))
    """
    if isinstance(batch, torch.Tensor):
        # A copy to the CPU that does not block would be read before it is complete.
        return batch.to(device, non_blocking=torch.device(device).type != "cpu")
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
