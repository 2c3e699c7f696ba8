"""One party of a peer's computation each, as a process of its own: a report of one JSON object a line."""
