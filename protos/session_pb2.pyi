from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Hello(_message.Message):
    __slots__ = ("protocol", "version", "job_digest", "session", "party")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    JOB_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    version: int
    job_digest: bytes
    session: bytes
    party: str
    def __init__(self, protocol: _Optional[str] = ..., version: _Optional[int] = ..., job_digest: _Optional[bytes] = ..., session: _Optional[bytes] = ..., party: _Optional[str] = ...) -> None: ...
