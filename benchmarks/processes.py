"""Parties of a benchmark in processes of their own."""

import multiprocessing
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """What one party's process reports."""

    seconds: float
    cpu_seconds: float
    sent_bytes: int
    peak_mb: float
    matched: int


def together(target: object, arguments: list[tuple[object, ...]]) -> list[object]:
    """Run `target` in one new process a tuple, begin all at once, and give what each reports."""
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in arguments]
    processes = [
        context.Process(target=target, args=(there, *rest)) for (_, there), rest in zip(ends, arguments, strict=True)
    ]
    for process in processes:
        process.start()
    for here, _ in ends:
        here.recv()
    for here, _ in ends:
        here.send(None)
    reports = [here.recv() for here, _ in ends]
    for process in processes:
        process.join()
    return reports
