"""An operator's side of a job that answers questions while it runs, such as serve.boosted_trees.

with node.questions(job_id) as questions:
    scores = questions.ask(["A123", "B456"])
"""

import json
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mpc import registry
from mpc.errors import ChannelError, InputError
from mpc.tables import as_arrow
from parties.jobs.records import JobRecord
from parties.jobs.states import State
from parties.worker import desk
from parties.worker.desk import Kind

if TYPE_CHECKING:
    import pyarrow as pa

_POLL_S = 0.02


class Questions:
    """A connection to this party's worker of a running job. Not for several threads at once: open one each.

    Raises `InputError` for what cannot be asked; after a `ChannelError`, which says that the job has ended or was
    interrupted, open another one.
    """

    def __init__(self, connection: socket.socket, key: Sequence[str], job_id: str) -> None:
        self._connection = connection
        self._key = tuple(key)
        self._job_id = job_id

    def ask(self, keys: Any) -> "pa.Table":
        """What is told about these keys, beside them, in their order; null for those that not all parties have.

        `keys` are values of the own key column, or a table (Arrow, pandas, polars) with all own key columns.
        """
        return desk.unpack_table(self._exchange(Kind.ASK, desk.pack_table(self._as_table(keys))))

    def finish(self) -> None:
        """End the job for all parties: it succeeds, and its result says how much was asked."""
        self._exchange(Kind.CLOSE, b"")

    def close(self) -> None:
        """Close the connection; the job goes on."""
        self._connection.close()

    def __enter__(self) -> "Questions":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, kind: Kind, body: bytes) -> bytes:
        try:
            desk.send(self._connection, kind, body)
            answered, data = desk.receive(self._connection)
        except (OSError, ChannelError):
            raise ChannelError(
                f"job {self._job_id} has ended, or was interrupted", hint=f"see `sealane job show {self._job_id[:8]}`"
            ) from None
        if answered is Kind.REFUSED:
            told = json.loads(data)
            raise InputError(told["message"], hint=told["hint"])
        return data

    def _as_table(self, keys: Any) -> "pa.Table":
        import pyarrow as pa

        if hasattr(keys, "column_names") or hasattr(keys, "columns"):
            table = as_arrow(keys)
            missing = [name for name in self._key if name not in table.column_names]
            if missing:
                raise InputError(f"keys are asked for by {', '.join(self._key)}: there is no {missing[0]!r}")
            return table.select(list(self._key))
        if len(self._key) != 1:
            raise InputError(f"keys are asked for by {', '.join(self._key)}", hint="give a table of these columns")
        return pa.table({self._key[0]: pa.array(keys)})


def open_questions(find: Callable[[], JobRecord], me: str, work: Path, timeout_s: float) -> Questions:
    """Connect to the own worker of the job that `find` reads, once it runs; `ChannelError` if it does not in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        record = find()
        spec = registry.get(record.job.protocol)
        asking = spec.asks(record.job, spec.parse(record.job))
        if asking != me:
            words = f"job {record.id} answers no questions of {me}" + (f", but of {asking}" if asking else "")
            raise InputError(words, hint="`sealane model serve` proposes one that does")
        if record.ended:
            raise InputError(f"job {record.id} has ended: it is {record.state}", hint="propose another one")
        if record.state is State.RUNNING:
            try:
                connection = desk.connect(work / f"{record.id}.{record.attempt}")
                return Questions(connection, record.job.members[me].columns["key"], record.id)
            except OSError:
                pass  # its worker has not come so far
        if time.monotonic() > deadline:
            waiting = f", waiting for {', '.join(record.undecided)}" if record.undecided else ""
            raise ChannelError(
                f"job {record.id} does not run yet: it is {record.state}{waiting}", hint="try again later"
            )
        time.sleep(_POLL_S)
