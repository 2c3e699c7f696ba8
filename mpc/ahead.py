"""Importing this module loads what protocols load only where they run, for a process that waits for work to come."""

import numba  # noqa: F401

import mpc.psi.table  # noqa: F401
