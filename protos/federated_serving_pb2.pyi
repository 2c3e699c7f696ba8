from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Ask(_message.Message):
    __slots__ = ("call", "rows", "closed")
    CALL_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    call: int
    rows: bytes
    closed: bool
    def __init__(self, call: _Optional[int] = ..., rows: _Optional[bytes] = ..., closed: _Optional[bool] = ...) -> None: ...

class Counted(_message.Message):
    __slots__ = ("calls", "rows")
    CALLS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    calls: int
    rows: int
    def __init__(self, calls: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...
