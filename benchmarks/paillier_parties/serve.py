"""How a library under test is driven: it needs nothing but the standard library.

A line of standard input names a work; a line of JSON answers: operations done, seconds, CPU seconds of the process,
and whether the result was right. A work is a number of operations and a function that does them; what that gives checks
the result; a work may have another function, which is called before each time and not measured. Short works are done
again until all together are long enough to measure, and the median counts.
"""

import json
import os
import random
import resource
import statistics
import sys
import time

# Of the matrix, with as many columns as a side of `default_credit`; the histogram has more rows.
ROWS, COLUMNS, BINS = 3000, 13, 32

LEAST_SECONDS = 0.25


def inputs(count, columns=COLUMNS, bins=BINS):
    """The same numbers for every library: values to encrypt, a matrix of 16-bit entries, and bins, most near 0."""
    source = random.Random(1)
    values = [source.randrange(-1000, 1001) for _ in range(count)]
    matrix = [[source.randrange(-(2**15), 2**15) for _ in range(columns)] for _ in range(count)]
    binned = [[min(bins - 1, int(abs(source.gauss(0, 1)) * bins / 3)) for _ in range(columns)] for _ in range(count)]
    return values, matrix, binned


def product(matrix, values):
    """What a matrix product must give."""
    return [sum(row[j] * value for row, value in zip(matrix, values)) for j in range(len(matrix[0]))]  # noqa: B905


def histogram(binned, values, bins=BINS):
    """What sums by bins must give, feature after feature."""
    sums = [[0] * bins for _ in binned[0]]
    for row, value in zip(binned, values):  # noqa: B905
        for feature, place in enumerate(row):
            sums[feature][place] += value
    return [total for feature in sums for total in feature]


def serve(works):
    """Answer until standard input ends; the first argument is the number of cores, the second the key's bits."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the library prints is no answer
    made = works(int(sys.argv[2]))
    print(json.dumps(sorted(made)), file=answers, flush=True)
    for line in sys.stdin:
        operations, run, *before = made[line.strip()]
        rounds = []
        for make_ready in before:
            make_ready()
        check = run()  # not measured: memory that is new to the process takes longer than some of the works
        while sum(seconds for seconds, _ in rounds) < LEAST_SECONDS:
            del check  # gives its memory to the next
            for make_ready in before:
                make_ready()
            began, cpu = time.perf_counter(), time.process_time()
            check = run()
            rounds.append((time.perf_counter() - began, time.process_time() - cpu))
        seconds, cpu = map(statistics.median, zip(*rounds))  # noqa: B905
        report = {"seconds": seconds, "cpu_seconds": cpu}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report.update(operations=operations, ok=bool(check()), peak_mb=peak)
        print(json.dumps(report), file=answers, flush=True)
