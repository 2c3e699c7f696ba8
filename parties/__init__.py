"""The institution's node: identity, transport, jobs, policy, evidence, and the ways to use them."""
