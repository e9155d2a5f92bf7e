"""What this machine gains from: bfloat16, a compiler, memory that is kept."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

__all__ = ["can_compile", "describe", "gains_from_bf16", "kept_memory"]


def gains_from_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware, hence faster than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # The tests of single features are not public, so older versions may lack them.
        tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, test, bool)() for test in tests)
    return False


def can_compile(device: torch.device) -> str | None:
    """Whether ``torch.compile`` works here: None if it does, else the reason in one line.

    It needs a C++ compiler on a CPU and Triton on a GPU, and says so only when it is used.
    """
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:  # its failures share no class
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return None


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keeps freed memory in the process instead of handing it back to the system.

    A training step on the CPU frees and takes hundreds of megabytes. By default glibc gives large
    blocks back at once, and the system clears every page that is taken again: a third of a step's
    time. At the end all that is unused is handed back. Does nothing where there is no glibc.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    trim_threshold, mmap_max = -1, -4  # names of the options in malloc.h
    libc.mallopt(trim_threshold, -1)
    libc.mallopt(mmap_max, 0)
    try:
        yield
    finally:
        libc.mallopt(trim_threshold, 128 * 1024)
        libc.mallopt(mmap_max, 65536)
        libc.malloc_trim(0)


def describe(device: torch.device) -> str:
    """The device in words, for the record of a run."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"
