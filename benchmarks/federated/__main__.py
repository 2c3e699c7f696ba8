"""`python -m benchmarks.federated`: joint training, in the modules beside this one; each can be run alone."""

from collections.abc import Iterator

from benchmarks.federated import regression, trees
from benchmarks.harness import Row, main


def rows(quick: bool) -> Iterator[Row]:
    for part in (trees, regression):
        yield from part.rows(quick)


if __name__ == "__main__":
    main(rows)
