"""How much the tests with random input try: a little by default, the same each time, so that a failure is a change's;
other input at every run, and as much of it as SEALANE_FUZZ_EXAMPLES says, in long runs."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
if "SEALANE_FUZZ_EXAMPLES" in os.environ:
    settings.register_profile(
        "long",
        settings.get_profile("default"),
        derandomize=False,
        max_examples=int(os.environ["SEALANE_FUZZ_EXAMPLES"]),
    )
    settings.load_profile("long")
else:
    settings.load_profile("default")
