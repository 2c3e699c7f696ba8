"""How much of its disk a node takes, by what for."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from parties.home import Home
from parties.store import Store


@dataclass
class Sizes:
    """Measures; from one thread. What was measured of the evidence before, which only grows, is not read again."""

    home: Home
    store: Store
    _evidence: tuple[int, int] = field(default=(0, 0), init=False)  # up to which entry, and its bytes

    def measure(self) -> dict[str, int]:
        """Bytes: of the database's files and, within them, the evidence's entries, and of the node's folders.

        `results` are also parts of models; those in memory are `memory`, and on no disk.
        """
        home = self.home
        return {
            "database": sum(map(_size, home.path.glob("sealane.db*"))),
            "evidence": self._measure_evidence(),
            "results": _size(home.results),
            "datasets": _size(home.datasets),
            "spool": _size(home.spool),
            "work": _size(home.work),
            "memory": _size(home.memory),
        }

    def _measure_evidence(self) -> int:
        seq, size = self._evidence
        row = (
            self.store.connection()
            .execute(
                "SELECT max(seq) AS seq, sum(length(body) + length(hash) + length(signature)) AS size "
                "FROM evidence WHERE seq > ?",
                (seq,),
            )
            .fetchone()
        )
        if row["seq"] is not None:
            self._evidence = int(row["seq"]), size + int(row["size"])
        return self._evidence[1]


def _size(path: Path) -> int:
    """Of a file, or of all files below a folder; 0 of what is not there (any more)."""
    try:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            return found.st_size
        with os.scandir(path) as entries:
            return sum(_size(Path(entry.path)) for entry in entries)
    except FileNotFoundError:
        return 0
