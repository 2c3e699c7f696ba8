from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("epoch", "id", "confirm", "propose", "decide", "conflict", "start", "busy", "done", "fail", "end", "countersign", "receipt", "catalogue_query", "catalogue", "probe", "probe_answer", "heard")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    PROPOSE_FIELD_NUMBER: _ClassVar[int]
    DECIDE_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    BUSY_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    FAIL_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    COUNTERSIGN_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_QUERY_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    PROBE_ANSWER_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    epoch: bytes
    id: int
    confirm: Confirm
    propose: Propose
    decide: Decide
    conflict: Conflict
    start: Start
    busy: Busy
    done: Done
    fail: Fail
    end: End
    countersign: Countersign
    receipt: Receipt
    catalogue_query: CatalogueQuery
    catalogue: Catalogue
    probe: Probe
    probe_answer: ProbeAnswer
    heard: Heard
    def __init__(self, epoch: _Optional[bytes] = ..., id: _Optional[int] = ..., confirm: _Optional[_Union[Confirm, _Mapping]] = ..., propose: _Optional[_Union[Propose, _Mapping]] = ..., decide: _Optional[_Union[Decide, _Mapping]] = ..., conflict: _Optional[_Union[Conflict, _Mapping]] = ..., start: _Optional[_Union[Start, _Mapping]] = ..., busy: _Optional[_Union[Busy, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., fail: _Optional[_Union[Fail, _Mapping]] = ..., end: _Optional[_Union[End, _Mapping]] = ..., countersign: _Optional[_Union[Countersign, _Mapping]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., catalogue_query: _Optional[_Union[CatalogueQuery, _Mapping]] = ..., catalogue: _Optional[_Union[Catalogue, _Mapping]] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ..., probe_answer: _Optional[_Union[ProbeAnswer, _Mapping]] = ..., heard: _Optional[_Union[Heard, _Mapping]] = ...) -> None: ...

class Confirm(_message.Message):
    __slots__ = ("epoch", "id")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    epoch: bytes
    id: int
    def __init__(self, epoch: _Optional[bytes] = ..., id: _Optional[int] = ...) -> None: ...

class Heard(_message.Message):
    __slots__ = ("epoch", "id")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    epoch: bytes
    id: int
    def __init__(self, epoch: _Optional[bytes] = ..., id: _Optional[int] = ...) -> None: ...

class Propose(_message.Message):
    __slots__ = ("job", "rows")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    rows: _containers.RepeatedCompositeFieldContainer[RowHint]
    def __init__(self, job: _Optional[bytes] = ..., rows: _Optional[_Iterable[_Union[RowHint, _Mapping]]] = ...) -> None: ...

class RowHint(_message.Message):
    __slots__ = ("party", "rows")
    PARTY_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    party: str
    rows: int
    def __init__(self, party: _Optional[str] = ..., rows: _Optional[int] = ...) -> None: ...

class Decide(_message.Message):
    __slots__ = ("job", "digest", "approved", "reason", "signature")
    JOB_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    APPROVED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    job: str
    digest: bytes
    approved: bool
    reason: str
    signature: bytes
    def __init__(self, job: _Optional[str] = ..., digest: _Optional[bytes] = ..., approved: _Optional[bool] = ..., reason: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Conflict(_message.Message):
    __slots__ = ("job", "held", "offered")
    JOB_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    OFFERED_FIELD_NUMBER: _ClassVar[int]
    job: str
    held: bytes
    offered: bytes
    def __init__(self, job: _Optional[str] = ..., held: _Optional[bytes] = ..., offered: _Optional[bytes] = ...) -> None: ...

class Start(_message.Message):
    __slots__ = ("job", "digest", "attempt", "session", "started_at")
    JOB_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    job: str
    digest: bytes
    attempt: int
    session: bytes
    started_at: int
    def __init__(self, job: _Optional[str] = ..., digest: _Optional[bytes] = ..., attempt: _Optional[int] = ..., session: _Optional[bytes] = ..., started_at: _Optional[int] = ...) -> None: ...

class Busy(_message.Message):
    __slots__ = ("job", "attempt")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    job: str
    attempt: int
    def __init__(self, job: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("job", "attempt", "signature", "dropped", "counts")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    job: str
    attempt: int
    signature: bytes
    dropped: _containers.RepeatedScalarFieldContainer[str]
    counts: _containers.ScalarMap[str, int]
    def __init__(self, job: _Optional[str] = ..., attempt: _Optional[int] = ..., signature: _Optional[bytes] = ..., dropped: _Optional[_Iterable[str]] = ..., counts: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Fail(_message.Message):
    __slots__ = ("job", "attempt", "kind", "reason")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[Fail.Kind]
        INTERRUPTED: _ClassVar[Fail.Kind]
        INPUT: _ClassVar[Fail.Kind]
        PROTOCOL: _ClassVar[Fail.Kind]
        POLICY: _ClassVar[Fail.Kind]
        WITHHELD: _ClassVar[Fail.Kind]
        CRASHED: _ClassVar[Fail.Kind]
        CANCELLED: _ClassVar[Fail.Kind]
    UNSPECIFIED: Fail.Kind
    INTERRUPTED: Fail.Kind
    INPUT: Fail.Kind
    PROTOCOL: Fail.Kind
    POLICY: Fail.Kind
    WITHHELD: Fail.Kind
    CRASHED: Fail.Kind
    CANCELLED: Fail.Kind
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    job: str
    attempt: int
    kind: Fail.Kind
    reason: str
    def __init__(self, job: _Optional[str] = ..., attempt: _Optional[int] = ..., kind: _Optional[_Union[Fail.Kind, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class End(_message.Message):
    __slots__ = ("job", "attempt", "outcome", "reason", "signatures", "dropped", "started_at")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    job: str
    attempt: int
    outcome: str
    reason: str
    signatures: _containers.RepeatedCompositeFieldContainer[Signature]
    dropped: _containers.RepeatedScalarFieldContainer[str]
    started_at: int
    def __init__(self, job: _Optional[str] = ..., attempt: _Optional[int] = ..., outcome: _Optional[str] = ..., reason: _Optional[str] = ..., signatures: _Optional[_Iterable[_Union[Signature, _Mapping]]] = ..., dropped: _Optional[_Iterable[str]] = ..., started_at: _Optional[int] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("fingerprint", "signature")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    signature: bytes
    def __init__(self, fingerprint: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Countersign(_message.Message):
    __slots__ = ("job", "signature")
    JOB_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    job: str
    signature: bytes
    def __init__(self, job: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("job", "signatures")
    JOB_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    job: str
    signatures: _containers.RepeatedCompositeFieldContainer[Signature]
    def __init__(self, job: _Optional[str] = ..., signatures: _Optional[_Iterable[_Union[Signature, _Mapping]]] = ...) -> None: ...

class CatalogueQuery(_message.Message):
    __slots__ = ("call",)
    CALL_FIELD_NUMBER: _ClassVar[int]
    call: int
    def __init__(self, call: _Optional[int] = ...) -> None: ...

class Catalogue(_message.Message):
    __slots__ = ("call", "json")
    CALL_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    call: int
    json: bytes
    def __init__(self, call: _Optional[int] = ..., json: _Optional[bytes] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("call", "index", "count", "filler", "back")
    CALL_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FILLER_FIELD_NUMBER: _ClassVar[int]
    BACK_FIELD_NUMBER: _ClassVar[int]
    call: int
    index: int
    count: int
    filler: bytes
    back: bool
    def __init__(self, call: _Optional[int] = ..., index: _Optional[int] = ..., count: _Optional[int] = ..., filler: _Optional[bytes] = ..., back: _Optional[bool] = ...) -> None: ...

class ProbeAnswer(_message.Message):
    __slots__ = ("call", "clock", "received_bytes")
    CALL_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    call: int
    clock: float
    received_bytes: int
    def __init__(self, call: _Optional[int] = ..., clock: _Optional[float] = ..., received_bytes: _Optional[int] = ...) -> None: ...
