"""The allocator of a node, in a process of its own."""

import subprocess
import sys

PROGRAM = """
import resource
from parties.transport.allocator import keep_freed_buffers
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use_and_free():
    buffers = [bytearray(b"x") * 2**20 for _ in range(8)]
keep_freed_buffers()
use_and_free()
before = faults()
use_and_free()
print(faults() - before)
"""


def test_freed_buffers_are_used_again_without_new_pages() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2**20 // 4096, "fewer than one of the eight buffers has"
