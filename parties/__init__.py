"""The institution's node: identity, transport, jobs, policy, evidence, and the ways to use them.

From Python: `Node` is a node's operator side, `sandbox` starts throwaway nodes on this machine. The jobs they run are
`mpc.job.Job`s, the same that `mpc.local.run_job` runs in one process.
"""
