"""A process keeps the memory that a batch of messages takes for the next one."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.waiting import HANGS

BATCHES = """
import gc, resource, sys
from gorgond.redpill import Message
from gorgond.service.memory import YOUNG, keep_memory

if sys.argv[1] == "kept":
    keep_memory()
    assert gc.get_threshold()[0] == YOUNG
    assert gc.get_freeze_count() > 1000

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def batch():
    return [Message("items.added", {"text": "x" * 2000}).encode() for _ in range(500)]

batch()
begun, looks = faults(), sum(each["collections"] for each in gc.get_stats())
for _ in range(20):
    batch()
print(faults() - begun, sum(each["collections"] for each in gc.get_stats()) - looks)
"""


def _costs(how: str) -> tuple[int, int]:
    """Pages that twenty batches had to fetch from the system, and how often garbage was looked for."""
    done = subprocess.run(
        [sys.executable, "-c", BATCHES, how], capture_output=True, text=True, check=True, timeout=HANGS
    )
    pages, looks = done.stdout.split()
    return int(pages), int(looks)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others have their own ways")
def test_a_batch_finds_the_memory_of_the_one_before() -> None:
    # given: a process as Python and the C library make it
    pages, _ = _costs("left alone")
    # when: memory is kept
    kept, looks = _costs("kept")
    # then: twenty batches of a megabyte fetch a fraction, and nobody looks for garbage among them
    assert kept < pages / 5
    assert looks == 0
