from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Start(_message.Message):
    __slots__ = ("columns", "outputs", "public_key")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    columns: int
    outputs: int
    public_key: bytes
    def __init__(self, columns: _Optional[int] = ..., outputs: _Optional[int] = ..., public_key: _Optional[bytes] = ...) -> None: ...

class Ciphertexts(_message.Message):
    __slots__ = ("ciphertexts",)
    CIPHERTEXTS_FIELD_NUMBER: _ClassVar[int]
    ciphertexts: bytes
    def __init__(self, ciphertexts: _Optional[bytes] = ...) -> None: ...

class Shares(_message.Message):
    __slots__ = ("elements",)
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    elements: bytes
    def __init__(self, elements: _Optional[bytes] = ...) -> None: ...

class Continue(_message.Message):
    __slots__ = ("stop", "best")
    STOP_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    stop: bool
    best: bool
    def __init__(self, stop: _Optional[bool] = ..., best: _Optional[bool] = ...) -> None: ...

class ModelIdentity(_message.Message):
    __slots__ = ("job", "job_digest", "session")
    JOB_FIELD_NUMBER: _ClassVar[int]
    JOB_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    job: str
    job_digest: bytes
    session: bytes
    def __init__(self, job: _Optional[str] = ..., job_digest: _Optional[bytes] = ..., session: _Optional[bytes] = ...) -> None: ...

class Scale(_message.Message):
    __slots__ = ("mean", "deviation", "classes")
    MEAN_FIELD_NUMBER: _ClassVar[int]
    DEVIATION_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    mean: float
    deviation: float
    classes: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, mean: _Optional[float] = ..., deviation: _Optional[float] = ..., classes: _Optional[_Iterable[float]] = ...) -> None: ...
