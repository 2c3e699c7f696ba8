"""What the specs of jobs on several parties' columns say alike: slots, checks of a job, and what ciphertexts cost."""

from mpc.errors import InputError
from mpc.federated.alignment import FEATURE_HOLDER
from mpc.federated.trees_params import MAX_COLUMNS
from mpc.job import Job
from mpc.spec import Slot

KEY_SLOT = Slot("key", least=1, most=8, doc="columns that identify a row, in the order all parties name theirs")
FEATURE_SLOTS = {
    "key": KEY_SLOT,
    "feature": Slot("number or boolean", most=MAX_COLUMNS, doc="columns of numbers; nulls and NaN are missing values"),
    "category": Slot("any", most=MAX_COLUMNS, doc="columns of text, integers, dates or booleans, taken as categories"),
}

# On one core of about 3 GHz with AVX-512 IFMA, for keys of 2048 bits: multiply by `ciphertext_work`.
SECONDS_TO_ENCRYPT = {"strict": 35e-6, "fast": 10e-6}
SECONDS_TO_CHECK = 3e-6
SECONDS_TO_ADD = 0.3e-6
SECONDS_TO_DECRYPT = 0.4e-3
SECONDS_TO_MULTIPLY = 1.4e-6  # by an entry of a matrix
CIPHERTEXT_BYTES = 700  # in memory

# As measured for products modulo n². AVX2 is 2.4 on a Zen 4, which has IFMA too, and 4.7 on a Zen 3, which has not.
_WORK_ON_KERNEL = {"avx512ifma": 1.0, "avx512f": 2.2, "avx2": 4.0}
_WORK_ON_GMP = 8.0


def ciphertext_work(key_bits: int) -> float:
    """How many times as long as the figures above say this machine takes, by its processor, for keys of so many bits.

    The work on a ciphertext grows with the square of the key's length.
    """
    from mpc.kernels.montgomery import best_machine

    machine = best_machine()
    return (_WORK_ON_KERNEL[machine.name] if machine else _WORK_ON_GMP) * (key_bits / 2048) ** 2


def feature_names(job: Job, name: str) -> tuple[str, ...]:
    """The columns of features that a party names: numbers, then categories."""
    columns = job.members[name].columns
    return (*columns.get("feature", ()), *columns.get("category", ()))


def check_features(job: Job) -> None:
    """Raise `InputError` for a feature holder that names none."""
    for name, member in job.members.items():
        if member.role == FEATURE_HOLDER and not feature_names(job, name):
            raise InputError(f"{name}: a feature holder names columns for feature or category")
