"""What a training asks of its machine: devices and processes, precision, memory, signals."""

import contextlib
import ctypes
import os
import platform
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import nn

from dcfnet.errors import unknown


def accelerator_for(device: str, precision: str, accumulate: int) -> Accelerator:
    """Accelerate's view of the machine, for a device and two settings of a plan."""
    if device not in ("auto", "cpu"):
        raise ValueError(unknown("device", device, ("auto", "cpu")))
    # Accelerate does not by itself let launched processes without GPUs work together.
    cpu = device == "cpu" or ("LOCAL_RANK" in os.environ and not torch.cuda.is_available())
    # It keeps its first settings for the life of the process; each run has its own.
    AcceleratorState._reset_state(reset_partial_state=True)
    state = PartialState(cpu=cpu)
    if precision == "auto":
        precision = "bf16" if gains_from_bf16(state.device) else "fp32"
    return Accelerator(
        cpu=cpu,
        mixed_precision="no" if precision == "fp32" else "bf16",
        gradient_accumulation_steps=accumulate,
    )


def gains_from_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware, hence faster than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # The tests of single features are not public, so older versions may lack them.
        tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, test, bool)() for test in tests)
    return False


def compiled(model: nn.Module, device: torch.device) -> nn.Module:
    """A network compiled or, with a warning, as it is where ``torch.compile`` does not work.

    That needs a C++ compiler on a CPU and Triton on a GPU, and says so only when it is used.
    """
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:  # its failures share no class
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        said = f"torch.compile does not work here, training goes on without it ({reason})"
        warnings.warn(said, stacklevel=3)
        return model
    fast: nn.Module = torch.compile(model)  # type: ignore[assignment]
    return fast


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


class StopSignals:
    """Turns Ctrl-C and SIGTERM into a reason to stop at the next opportunity.

    The second signal does what it does elsewhere. Outside the main thread there are no signals.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, _: object) -> None:
        self.reason = signal.Signals(number).name
        before = self._before[signal.Signals(number)]
        # A shell's background jobs ignore Ctrl-C; somebody who sends it twice means it.
        ends = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, ends if before == signal.SIG_IGN else before)


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
