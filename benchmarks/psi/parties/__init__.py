"""One party of a matching job each, as a process of its own: CSV in, CSV out, a report of one JSON object a line."""
