"""The device: "cpu", the only one there is."""

from __future__ import annotations

from typing import Any


class device:
    """Where tensors live: device("cpu")."""

    type = "cpu"
    index = None

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        check_device(type)

    def __repr__(self) -> str:
        return "device(type='cpu')"

    def __str__(self) -> str:
        return "cpu"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device)

    def __hash__(self) -> int:
        return hash("cpu")


def check_device(device: Any) -> None:
    """Raise unless this means the CPU."""
    if device is not None and str(device).partition(":")[0] != "cpu":
        raise RuntimeError(f"device: only 'cpu' exists in tensorlite, got {str(device)!r}")
