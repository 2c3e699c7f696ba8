from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Setup(_message.Message):
    __slots__ = ("plan", "keys", "groups", "rows_of_key")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    ROWS_OF_KEY_FIELD_NUMBER: _ClassVar[int]
    plan: bytes
    keys: int
    groups: int
    rows_of_key: int
    def __init__(self, plan: _Optional[bytes] = ..., keys: _Optional[int] = ..., groups: _Optional[int] = ..., rows_of_key: _Optional[int] = ...) -> None: ...

class Labels(_message.Message):
    __slots__ = ("groups",)
    class Group(_message.Message):
        __slots__ = ("labels",)
        LABELS_FIELD_NUMBER: _ClassVar[int]
        labels: _containers.RepeatedCompositeFieldContainer[Labels.Label]
        def __init__(self, labels: _Optional[_Iterable[_Union[Labels.Label, _Mapping]]] = ...) -> None: ...
    class Label(_message.Message):
        __slots__ = ("text", "number", "withheld")
        TEXT_FIELD_NUMBER: _ClassVar[int]
        NUMBER_FIELD_NUMBER: _ClassVar[int]
        WITHHELD_FIELD_NUMBER: _ClassVar[int]
        text: str
        number: int
        withheld: bool
        def __init__(self, text: _Optional[str] = ..., number: _Optional[int] = ..., withheld: _Optional[bool] = ...) -> None: ...
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[Labels.Group]
    def __init__(self, groups: _Optional[_Iterable[_Union[Labels.Group, _Mapping]]] = ...) -> None: ...
