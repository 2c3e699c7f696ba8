"""Every error Sealane raises on purpose, named by who must act.

    SealaneError
    ├── InputError       the caller fixes the input: file, row, column, parameter
    │   └── ProgramError     a researcher's own program raised, or returned what it must not
    ├── ChannelError     the link to a peer broke: retry with fresh randomness
    ├── ProtocolError    a peer sent what the protocol does not allow: recorded, never retried
    └── PolicyDenied     a party's own rules refuse it: ask for a grant, or ask for less
        └── ResultWithheld   it was computed, and the agreed minimum forbids its release

A message names the file, row, column, peer or step, and never a value. `hint` says what to do next.
"""


class SealaneError(Exception):
    """An error with a sentence for people (`str(error)`) and a `hint` that says what to do next.

    The hint is a note, so that Python's traceback, which a researcher sees, shows it too.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(hint)


class InputError(SealaneError):
    """The caller's own input cannot be used."""


class ProgramError(InputError):
    """A researcher's own program raised, or returned what it must not: where, never with the words it used."""


class ChannelError(SealaneError):
    """The link to a peer broke or its process ended; nothing was decided, a new attempt may succeed."""


class ProtocolError(SealaneError):
    """A peer sent something the protocol does not allow: a wrong type, count, order, length or group element."""


class PolicyDenied(SealaneError):
    """A party's rules refuse the request."""


class ResultWithheld(PolicyDenied):
    """The result exists but is smaller than the agreed minimum, so nobody is given it."""
