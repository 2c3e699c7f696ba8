"""What the specs of jobs on several parties' columns say alike: slots, checks of a job, and what ciphertexts cost."""

from mpc.errors import InputError
from mpc.federated.alignment import FEATURE_HOLDER
from mpc.federated.trees_params import MAX_COLUMNS
from mpc.job import Job
from mpc.spec import Slot

KEY_SLOT = Slot("key", least=1, most=8, doc="columns that identify a row, in the order all parties name theirs")
FEATURE_SLOTS = {
    "key": KEY_SLOT,
    "feature": Slot("number", most=MAX_COLUMNS, doc="columns of numbers; nulls and NaN are missing values"),
    "category": Slot("any", most=MAX_COLUMNS, doc="columns of text, integers, dates or booleans, taken as categories"),
}

# On one core of about 3 GHz at 2048 bits; the work on a ciphertext grows with the square of the key's length.
SECONDS_TO_ENCRYPT = {"strict": 210e-6, "fast": 70e-6}
SECONDS_TO_CHECK = 10e-6
SECONDS_TO_ADD = 2e-6
CIPHERTEXT_BYTES = 700  # in memory


def feature_names(job: Job, name: str) -> tuple[str, ...]:
    """The columns of features that a party names: numbers, then categories."""
    columns = job.members[name].columns
    return (*columns.get("feature", ()), *columns.get("category", ()))


def check_features(job: Job) -> None:
    """Raise `InputError` for a feature holder that names none."""
    for name, member in job.members.items():
        if member.role == FEATURE_HOLDER and not feature_names(job, name):
            raise InputError(f"{name}: a feature holder names columns for feature or category")
