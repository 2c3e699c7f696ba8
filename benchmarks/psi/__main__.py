"""`python -m benchmarks.psi`: matching, in all the settings of the modules beside this one; each can be run alone."""

from collections.abc import Iterator

from benchmarks.harness import Row, main
from benchmarks.psi import library, out_of_core, several, wan


def rows(quick: bool) -> Iterator[Row]:
    for part in (library, several, wan, out_of_core):
        yield from part.rows(quick)


if __name__ == "__main__":
    main(rows)
