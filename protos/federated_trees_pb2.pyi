from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tree(_message.Message):
    __slots__ = ("number", "counted", "finished", "kept", "gains")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    GAINS_FIELD_NUMBER: _ClassVar[int]
    number: int
    counted: bytes
    finished: bool
    kept: int
    gains: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, number: _Optional[int] = ..., counted: _Optional[bytes] = ..., finished: _Optional[bool] = ..., kept: _Optional[int] = ..., gains: _Optional[_Iterable[float]] = ...) -> None: ...

class Layout(_message.Message):
    __slots__ = ("candidates",)
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    candidates: int
    def __init__(self, candidates: _Optional[int] = ...) -> None: ...

class Level(_message.Message):
    __slots__ = ("root", "families")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    root: bool
    families: _containers.RepeatedCompositeFieldContainer[Family]
    def __init__(self, root: _Optional[bool] = ..., families: _Optional[_Iterable[_Union[Family, _Mapping]]] = ...) -> None: ...

class Family(_message.Message):
    __slots__ = ("parent", "left", "left_judged", "right_judged")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    LEFT_JUDGED_FIELD_NUMBER: _ClassVar[int]
    RIGHT_JUDGED_FIELD_NUMBER: _ClassVar[int]
    parent: int
    left: bytes
    left_judged: bool
    right_judged: bool
    def __init__(self, parent: _Optional[int] = ..., left: _Optional[bytes] = ..., left_judged: _Optional[bool] = ..., right_judged: _Optional[bool] = ...) -> None: ...

class Choices(_message.Message):
    __slots__ = ("choices",)
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    choices: _containers.RepeatedCompositeFieldContainer[Choice]
    def __init__(self, choices: _Optional[_Iterable[_Union[Choice, _Mapping]]] = ...) -> None: ...

class Choice(_message.Message):
    __slots__ = ("node", "candidates")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    node: int
    candidates: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, node: _Optional[int] = ..., candidates: _Optional[_Iterable[int]] = ...) -> None: ...

class Standing(_message.Message):
    __slots__ = ("shares",)
    SHARES_FIELD_NUMBER: _ClassVar[int]
    shares: bytes
    def __init__(self, shares: _Optional[bytes] = ...) -> None: ...

class Lefts(_message.Message):
    __slots__ = ("bitmaps",)
    BITMAPS_FIELD_NUMBER: _ClassVar[int]
    bitmaps: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, bitmaps: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("session", "rules")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    rules: int
    def __init__(self, session: _Optional[bytes] = ..., rules: _Optional[int] = ...) -> None: ...

class Headings(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class Outputs(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: bytes
    def __init__(self, values: _Optional[bytes] = ...) -> None: ...
