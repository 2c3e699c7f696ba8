from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Start(_message.Message):
    __slots__ = ("public_key", "nonce", "keys")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    nonce: bytes
    keys: int
    def __init__(self, public_key: _Optional[bytes] = ..., nonce: _Optional[bytes] = ..., keys: _Optional[int] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("withheld", "point")
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    withheld: bool
    point: bytes
    def __init__(self, withheld: _Optional[bool] = ..., point: _Optional[bytes] = ...) -> None: ...

class Choices(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: bytes
    def __init__(self, points: _Optional[bytes] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("withheld", "keys")
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    withheld: bool
    keys: int
    def __init__(self, withheld: _Optional[bool] = ..., keys: _Optional[int] = ...) -> None: ...
