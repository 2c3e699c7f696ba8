"""SPU 0.9.5 over its own link on loopback: `python spu_operations.py RANK PROTOCOL PORTS FOLDER REPEATS CASE=SIZE ...`.

Rank 0 makes the shares of the inputs and leaves the others' in FOLDER, absolute. Prints, for each case, the seconds and
CPU seconds of every repetition, and before them what SPU logs of each, with the bytes that its link sent.
"""

import json
import pickle
import resource
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import spu.api
from spu import libspu
from spu.utils import frontend

LIMIT = 2**20


def case(name, size):
    """The function, its inputs, and what it must give."""
    rng = np.random.default_rng(7)
    if name == "matmul":
        x = rng.uniform(-1, 1, (size, size)).astype(np.float32)
        y = rng.uniform(-1, 1, (size, size // 10)).astype(np.float32)
        return jnp.matmul, (x, y), lambda out: np.abs(out - x @ y).max() < 0.1
    x, y = rng.integers(-LIMIT, LIMIT, (2, size))
    return {
        "multiply": (lambda a, b: a * b, (x, y), lambda out: np.array_equal(out, x * y)),
        "compare": (lambda a, b: a < b, (x, y), lambda out: np.array_equal(out, x < y)),
        "sum": (lambda a: jnp.sum(a), (x,), lambda out: out == x.sum()),
    }[name]


def run(rank, protocol, ports, folder, repeats, wanted):
    description = libspu.link.Desc()
    description.recv_timeout_ms = 600_000
    for party, port in enumerate(ports):
        description.add_party(f"p{party}", f"127.0.0.1:{port}")
    link = libspu.link.create_brpc(description, rank)
    config = libspu.RuntimeConfig(protocol=getattr(libspu.ProtocolKind, protocol), field=libspu.FieldType.FM64)
    config.enable_pphlo_profile = True
    io, runtime = spu.api.Io(len(ports), config), spu.api.Runtime(link, config)
    for name, size in wanted:
        function, inputs, is_right = case(name, size)
        names = [f"in{i}" for i in range(len(inputs))]
        secret = libspu.Visibility.VIS_SECRET
        executable, _ = frontend.compile(
            frontend.Kind.JAX, function, inputs, {}, names, [secret] * len(inputs), lambda _: ["out"]
        )
        for i, value in enumerate(inputs):
            runtime.set_var(names[i], own_share(io, rank, len(ports), value, folder / f"{name}{i}", link))
        seconds, cpu = [], []
        for _ in range(repeats):
            link.barrier()
            began, used = time.perf_counter(), time.process_time()
            runtime.run(executable)
            seconds.append(time.perf_counter() - began)
            cpu.append(time.process_time() - used)
        share = runtime.get_var("out")
        (folder / f"{name}.out{rank}").write_bytes(pickle.dumps(share))
        link.barrier()
        right = True
        if rank == 0:
            shares = [pickle.loads((folder / f"{name}.out{party}").read_bytes()) for party in range(len(ports))]
            right = bool(is_right(io.reconstruct(shares)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"case": name, "seconds": seconds, "cpu": cpu, "peak_mb": peak, "ok": right}), flush=True)


def own_share(io, rank, parties, value, path, link):
    if rank == 0:
        shares = io.make_shares(np.array(value), libspu.Visibility.VIS_SECRET)
        for party in range(1, parties):
            Path(f"{path}.{party}").write_bytes(pickle.dumps(shares[party]))
    link.barrier()
    return shares[0] if rank == 0 else pickle.loads(Path(f"{path}.{rank}").read_bytes())


if __name__ == "__main__":
    _, own_rank, kind, port_list, scratch, times, *pairs = sys.argv
    chosen = [(pair.split("=")[0], int(pair.split("=")[1])) for pair in pairs]
    run(int(own_rank), kind, [int(port) for port in port_list.split(",")], Path(scratch), int(times), chosen)
