"""Sets of keys in CSV files, and whether what came out of matching them is their intersection."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

_BATCH_ROWS = 2**18
_DIGITS = 10
_BEFORE, _BEHIND = "customer-", "@example.com"


@dataclass(frozen=True)
class Sets:
    """`a` keys in a.csv, `b` in b.csv, `shared` of them common, in a folder where a.out and b.out are expected."""

    folder: Path
    a: int
    b: int
    shared: int

    def __str__(self) -> str:
        return f"PSI {self.a:,} x {self.b:,}"

    def write(self) -> None:
        """Put the files there. Every key is a line of its own in no order."""
        self._write("a", 0, self.a)
        self._write("b", self.a - self.shared, self.b)

    def files(self, name: str) -> list[str]:
        """Input and output of a party."""
        return [str(self.folder / f"{name}.csv"), str(self.folder / f"{name}.out")]

    def right(self) -> bool:
        """Whether both outputs hold exactly the common keys; takes them away."""
        results = [self._is_right(name) for name in "ab"]
        return all(results)

    def _write(self, name: str, start: int, count: int) -> None:
        schema = pa.schema({"id": pa.string()})
        numbers = np.random.default_rng(count).permutation(np.arange(start, start + count))
        options = csv.WriteOptions(quoting_style="none")
        with csv.CSVWriter(self.folder / f"{name}.csv", schema, write_options=options) as writer:
            for first in range(0, count, _BATCH_ROWS):
                digits = pc.utf8_lpad(pa.array(numbers[first : first + _BATCH_ROWS]).cast(pa.string()), _DIGITS, "0")
                writer.write_batch(pa.record_batch([pc.binary_join_element_wise(_BEFORE, digits, _BEHIND, "")], schema))

    def _is_right(self, name: str) -> bool:
        path = self.folder / f"{name}.out"
        columns = csv.ConvertOptions(column_types={"id": pa.string()})
        found = csv.read_csv(path, convert_options=columns)["id"]
        path.unlink()
        digits = pc.utf8_slice_codeunits(found, len(_BEFORE), len(_BEFORE) + _DIGITS).cast(pa.int64()).to_numpy()
        return bool(np.array_equal(np.sort(digits), np.arange(self.a - self.shared, self.a)))
