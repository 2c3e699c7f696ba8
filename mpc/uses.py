"""What a protocol may do with a column, in words that policies speak of; importing this loads nothing else."""

from typing import Literal

#: It is matched, a condition looks at it, rows are grouped by it, it is summed or counted, or a value of it is shown.
Use = Literal["join", "filter", "group", "aggregate", "extreme"]
