"""How fast this machine is at the moment, so that time limits can follow it.

A fixed piece of what lessons do, a few training steps and some reading, runs on one thread. Its
seconds on the wall are compared with those on the machine on which the limits were set: an old
laptop and a busy machine count as slow alike.
"""

import os
import time
from functools import cache

REFERENCE = 0.19  # seconds of the piece on one idle thread of the machine on which limits were set
KNOWN = "COURSE_SLOWNESS"  # what a program that started this one has measured
LAYERS, WIDTH, INNER, TOKENS, READINGS = 6, 576, 1536, 192, 3


@cache
def _piece():
    """A body as of a small language model, and tokens for it: made once, not timed."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [
            torch.nn.Sequential(
                torch.nn.Linear(WIDTH, INNER), torch.nn.SiLU(), torch.nn.Linear(INNER, WIDTH)
            )
            for _ in range(LAYERS)
        ]
        return torch.nn.Sequential(*layers), torch.randn(TOKENS, WIDTH)


def seconds() -> float:
    """What the fixed piece takes now, in seconds on the wall."""
    import torch

    threads = torch.get_num_threads()
    body, tokens = _piece()
    torch.set_num_threads(1)
    try:
        began = time.perf_counter()
        body(tokens).square().mean().backward()
        with torch.inference_mode():
            for _ in range(READINGS):
                body(tokens)
        return time.perf_counter() - began
    finally:
        torch.set_num_threads(threads)


def slowness() -> float:
    """How many times slower than the reference this machine is now; at least 1."""
    return max(1.0, max(seconds() for _ in range(2)) / REFERENCE)


def known_slowness() -> float:
    """The slowness at the start: measured once, also for the programs that this one starts."""
    if KNOWN not in os.environ:
        seconds()  # the first pass is slow
        os.environ[KNOWN] = f"{slowness():.2f}"
    return float(os.environ[KNOWN])


def limit(reference_seconds: float) -> float:
    """The seconds that may pass where `reference_seconds` may on the reference machine.

    The machine is measured anew, for it may have become busy since the start.
    """
    return reference_seconds * max(known_slowness(), slowness())
