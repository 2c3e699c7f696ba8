"""The command `sealane`: a person's or a script's way to one node. One module a noun, thin over `parties.node`.

Formatting for people happens here and nowhere else.
"""

from parties.cli.root import main

__all__ = ["main"]
