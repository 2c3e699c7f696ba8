"""SPU 0.9.5 over its own link on loopback: `python spu_operations.py RANK PROTOCOL PORTS FOLDER REPEATS CASE=SIZE ...`.

Rank 0 makes the shares of the inputs and leaves the others' in FOLDER, absolute. Prints, for each case, the seconds and
CPU seconds of every repetition, and before them what SPU logs of each, with the bytes that its link sent.
"""

import json
import pickle
import resource
import socket
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
    if name == "sort_few":
        keys = rng.integers(0, 2**16, size).astype(np.uint16)
        return jnp.sort, (keys,), lambda out: np.array_equal(out, np.sort(keys))
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
    config.experimental_enable_colocated_optimization = True  # inputs stay with who brings them until they are used
    io, runtime = spu.api.Io(len(ports), config), spu.api.Runtime(link, config)
    for name, size in wanted:
        if name == "sum_vectors":
            sum_vectors(link, io, runtime, size, repeats, folder)
            continue
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


def sum_vectors(link, io, runtime, size, repeats, folder):
    """The sum of a vector of each party, at rank 0: from each one's plain vector to the plain sum.

    The link carries text alone, so shares of the result go to rank 0 by a socket.
    """
    parties = link.world_size
    vectors = [np.random.default_rng(rank).integers(-LIMIT, LIMIT, size) for rank in range(parties)]
    names = [f"vector{rank}" for rank in range(parties)]
    executable, _ = frontend.compile(
        frontend.Kind.JAX, lambda *x: sum(x[1:], x[0]), vectors, {}, names,
        [libspu.Visibility.VIS_SECRET] * parties, lambda _: ["total"],
    )  # fmt: skip
    secret = libspu.Visibility.VIS_SECRET
    for owner, name in enumerate(names):  # of what another party brings a party has a part without content
        runtime.set_var(name, io.make_shares(np.zeros(size, np.int64), secret, owner)[link.rank])
    seconds, cpu, right, ends = [], [], True, socket_pairs(link, folder)
    for _ in range(repeats):
        link.barrier()
        began, used = time.perf_counter(), time.process_time()
        runtime.set_var(names[link.rank], io.make_shares(vectors[link.rank], secret, link.rank)[link.rank])
        runtime.run(executable)
        share = runtime.get_var("total")
        if link.rank:
            pickle.dump(share, ends[0], protocol=5)
            ends[0].flush()
        else:
            total = io.reconstruct([share, *(pickle.load(end) for end in ends)])
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
        right = right and (link.rank != 0 or np.array_equal(total, np.sum(vectors, axis=0)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report = {"case": "sum_vectors", "seconds": seconds, "cpu": cpu, "peak_mb": peak, "ok": bool(right)}
    print(json.dumps(report), flush=True)


def socket_pairs(link, folder):
    """Streams: at rank 0 from all others by rank, at the others to rank 0."""
    path = str(folder / "gather")
    if link.rank == 0:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            link.barrier()
            streams = [listener.accept()[0].makefile("rb") for _ in range(link.world_size - 1)]
        return [stream for _, stream in sorted((pickle.load(stream), stream) for stream in streams)]
    link.barrier()
    end = socket.socket(socket.AF_UNIX)
    end.connect(path)
    stream = end.makefile("wb")
    pickle.dump(link.rank, stream)
    stream.flush()
    return [stream]


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
