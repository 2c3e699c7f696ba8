"""What a process that waits for work may load meanwhile: protocols load it only where they run."""

#: Arrow and its functions; then numba, of which the first kernel brings in all but the other kernels.
MODULES = ("mpc.psi.table", "mpc.kernels.tags")
