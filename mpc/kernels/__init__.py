"""Compiled loops over arrays: pure functions with no protocol and no randomness in them.

Importing a module of this package loads numba, and compiles its kernels unless they are cached: roles import them
inside their functions, so that a node that only shows protocols does neither.
"""
