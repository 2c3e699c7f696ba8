from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Size(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: int
    def __init__(self, keys: _Optional[int] = ...) -> None: ...

class Points(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: bytes
    def __init__(self, points: _Optional[bytes] = ...) -> None: ...

class Tags(_message.Message):
    __slots__ = ("tags",)
    TAGS_FIELD_NUMBER: _ClassVar[int]
    tags: bytes
    def __init__(self, tags: _Optional[bytes] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("withheld", "matched", "size")
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    withheld: bool
    matched: bytes
    size: int
    def __init__(self, withheld: _Optional[bool] = ..., matched: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class Quality(_message.Message):
    __slots__ = ("rows", "nulls", "invalid", "duplicates", "distinct")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    NULLS_FIELD_NUMBER: _ClassVar[int]
    INVALID_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    DISTINCT_FIELD_NUMBER: _ClassVar[int]
    rows: int
    nulls: int
    invalid: int
    duplicates: int
    distinct: int
    def __init__(self, rows: _Optional[int] = ..., nulls: _Optional[int] = ..., invalid: _Optional[int] = ..., duplicates: _Optional[int] = ..., distinct: _Optional[int] = ...) -> None: ...
