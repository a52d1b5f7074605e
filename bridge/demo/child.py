"""How the demo's programs are started: without proxies, and to end at the latest when whoever started them dies."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def without_proxies() -> dict[str, str]:
    """Our environment; everything these programs call, each other for one, is on this machine."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def end_with_parent() -> Callable[[], None] | None:
    """What a child does first, to be told to end when the thread that started it dies; only Linux offers that."""
    if _LIBC is None:
        return None
    prctl = _LIBC.prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
