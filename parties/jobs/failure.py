"""Why one party's part of an attempt ended without result. Workers load this, so it imports next to nothing."""

from dataclasses import dataclass

from protos import control_pb2

Kind = control_pb2.Fail.Kind


@dataclass(frozen=True)
class Failure:
    """`public` is for everyone, `detail` and `hint` for this party's operator."""

    kind: int
    public: str
    detail: str = ""
    hint: str = ""
