"""MPyC 0.11 on loopback, started once: `python mpyc_operations.py SIZE -M3`. Prints a line of JSON at party 0."""

import json
import sys
import time

import numpy as np
from mpyc.runtime import mpc


async def run(size):
    await mpc.start()
    secret = mpc.SecInt(32)
    x, y = np.random.default_rng(1).integers(-(2**20), 2**20, (2, size))
    a, b = (mpc.input(secret.array(v.astype(object)), senders=0) for v in (x, y))
    await mpc.gather(a, b)
    await mpc.barrier()
    began = time.perf_counter()
    product = a * b
    await mpc.gather(product)
    seconds = time.perf_counter() - began
    right = bool(np.array_equal(np.array(await mpc.output(product[:1000]), np.int64), (x * y)[:1000]))
    if mpc.pid == 0:
        print(
            json.dumps({"case": "multiply", "seconds": [seconds], "cpu": [], "peak_mb": 0, "ok": right}),
            flush=True,
        )
    await mpc.shutdown()


if __name__ == "__main__":
    mpc.run(run(int(sys.argv[1])))
