"""`python -m parties.cli` is `sealane`."""

from parties.cli import main

main()
