"""What the trainer asks of the machine."""

import platform
import subprocess
import sys

import pytest
import torch

from dcfnet.training.machine import describe, gains_from_bf16

CPU = torch.device("cpu")


# In a process of its own: what other tests have left on the heap would count as well.
MEMORY = """
import psutil, torch
from dcfnet.training.machine import kept_memory

def resident():
    return psutil.Process().memory_info().rss / 2**20

before = resident()
with kept_memory():
    blocks = [torch.ones(2**20) for _ in range(100)]  # 400 MiB in blocks of 4
    del blocks
    kept = resident()
after = resident()
assert kept > before + 350, (before, kept)
assert after < before + 200, (before, after)
# As it was without. One block that fits in no gap left over: such a gap stays in the process while
# anything small lies behind it.
block = torch.ones(150 * 2**20)
del block
assert resident() < before + 200, (before, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.slow
def test_memory_is_kept_and_then_given_back():
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_gains_from_bf16(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not gains_from_bf16(CPU)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert gains_from_bf16(CPU)
    assert not gains_from_bf16(torch.device("mps"))


def test_the_device_in_words():
    assert f", {torch.get_num_threads()} thread" in describe(CPU)
