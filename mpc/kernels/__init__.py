"""Compiled loops over arrays: pure functions with no protocol and no randomness in them.

A kernel is declared in `mpc.kernels.jit`, compiled when it is first called, and kept for later processes.
"""
