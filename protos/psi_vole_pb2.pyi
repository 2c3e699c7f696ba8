from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Offer(_message.Message):
    __slots__ = ("point", "nonce")
    POINT_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    point: bytes
    nonce: bytes
    def __init__(self, point: _Optional[bytes] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class Choices(_message.Message):
    __slots__ = ("points", "nonce")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    points: bytes
    nonce: bytes
    def __init__(self, points: _Optional[bytes] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class Seed(_message.Message):
    __slots__ = ("seed",)
    SEED_FIELD_NUMBER: _ClassVar[int]
    seed: bytes
    def __init__(self, seed: _Optional[bytes] = ...) -> None: ...

class Piece(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...
