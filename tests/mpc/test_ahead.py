"""What a process that runs one job does beforehand."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
import resource
import sys

import numpy as np

from mpc.ahead import keep_freed_memory

ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a huge page is one fault, and much memory
if sys.argv[1] == "keep":
    keep_freed_memory()


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def touch():
    before = faults()
    np.empty(2**26, np.uint8)[:: 2**10] = 1
    return faults() - before


touch()
print(min(touch() for _ in range(3)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_memory_that_was_freed_is_used_again() -> None:
    counts = [
        int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "return")
    ]
    assert counts[0] < 100 < 1000 < counts[1]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_memory_that_one_thread_freed_is_used_by_another() -> None:
    program = """
import ctypes
import resource
import threading

import numpy as np

from mpc.ahead import keep_freed_memory

ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
keep_freed_memory()
faults = []


def touch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        np.empty(2**20, np.uint8)[:: 2**10] = 1
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


for _ in range(3):
    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
touch()
print(min(faults[1:]), faults[-1])
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert all(int(count) < 100 for count in found.stdout.split())
