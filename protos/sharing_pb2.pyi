from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Start(_message.Message):
    __slots__ = ("seed", "digest")
    SEED_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    seed: bytes
    digest: bytes
    def __init__(self, seed: _Optional[bytes] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("step", "operation", "number", "data")
    STEP_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    step: int
    operation: str
    number: int
    data: bytes
    def __init__(self, step: _Optional[int] = ..., operation: _Optional[str] = ..., number: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ("step", "operation", "correlation", "sizes")
    STEP_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    step: int
    operation: str
    correlation: str
    sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, step: _Optional[int] = ..., operation: _Optional[str] = ..., correlation: _Optional[str] = ..., sizes: _Optional[_Iterable[int]] = ...) -> None: ...
