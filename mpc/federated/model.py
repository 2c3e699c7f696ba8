"""A party's own part of a model that several parties trained together: one value, kept as canonical JSON.

The bytes are JSON with sorted keys, no spaces, UTF-8. An array is an object of its element type, its shape, and its
elements in row-major order, little-endian, in base64. Reading validates every field and refuses bytes that are not
canonical, so that one model has one digest; nothing in them is executed.
"""

import base64
import binascii
import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    with_config,
)

from mpc.errors import InputError
from mpc.job import canonical_json, explain

if TYPE_CHECKING:
    from mpc.spec import Party

DOMAIN = b"sealane/model/1\0"
FORMAT = 1
MAX_MODEL_BYTES = 64 * 2**20
MAX_FEATURES = 100_000

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
_TYPES = {"uint8": "u1", "int32": "<i4", "int64": "<i8", "uint64": "<u8", "float64": "<f8"}

Text = Annotated[str, StringConstraints(max_length=2000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,31}$")]
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Number = StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)]


@with_config(_STRICT)
@dataclass(frozen=True)
class Feature:
    """One of the party's own columns as the model uses it: numbers, or text in categories; and its importance, in the
    unit that the model's card names (None: the model's kind has none)."""

    name: Name
    kind: Literal["number", "category"] = "number"
    importance: Number | None = None


@with_config(_STRICT)
@dataclass(frozen=True)
class _Packed:
    """An array as the bytes hold it."""

    type: Literal["uint8", "int32", "int64", "uint64", "float64"]
    shape: Annotated[tuple[Annotated[StrictInt, Field(ge=0, le=2**31)], ...], Field(max_length=4)]
    data: str = field(repr=False)


@dataclass(frozen=True)
class Model:
    """A party's own part of a model.

    `kind` says what `content` and `arrays` mean, and `version` in which form (see the module that writes that kind).
    `job` and `job_digest` are those of the training job, `session` of the attempt at it, the same for all parties:
    parts with the same three belong together. `members` maps each party to its role. `features` are this party's own
    columns in the order of its arrays; `label` is the name of the label's column, at its holder only. `parameters` are
    those of the training job; `sizes` are counts (rows, features, classes); `metrics` what this party knows of how good
    the model is; `revealed` what each party learned by the training, in one sentence.

    Raises `InputError` for an array of a type that the bytes cannot hold.
    """

    kind: str
    version: int
    job: str
    job_digest: str
    session: str
    party: str
    members: Mapping[str, str]
    features: tuple[Feature, ...]
    label: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    revealed: Mapping[str, str] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            if array.dtype.name not in _TYPES or array.ndim > 4:
                raise InputError(f"array {name!r} of a model has type {array.dtype} and {array.ndim} dimensions")

    @classmethod
    def of_training(cls, party: "Party[Any]", kind: str, version: int, **rest: Any) -> "Model":
        """The part of a party whose job trained the model: `rest` are the fields that do not follow from that."""
        job = party.job
        return cls(
            kind=kind,
            version=version,
            job=job.id,
            job_digest=job.digest,
            session=party.session.hex(),
            party=party.name,
            members={name: member.role for name, member in job.members.items()},
            parameters=asdict(party.params),
            **rest,
        )

    def to_bytes(self) -> bytes:
        """Canonical JSON; raises `InputError` when it is longer than a model may be or has a number not finite."""
        packed = {name: asdict(_pack(array)) for name, array in self.arrays.items()}
        fields = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        features = [asdict(feature) for feature in self.features]
        try:
            data = canonical_json({"format": FORMAT, **fields, "features": features, "arrays": packed})
        except ValueError:
            raise InputError("a model holds a number that is not finite") from None
        if len(data) > MAX_MODEL_BYTES:
            raise InputError(f"a model of {len(data)} bytes is too long (at most {MAX_MODEL_BYTES})")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> "Model":
        """The model in `data`; raises `InputError` when it is too long, malformed, or not canonical."""
        if len(data) > MAX_MODEL_BYTES:
            raise InputError(f"a model of {len(data)} bytes is too long (at most {MAX_MODEL_BYTES})")
        try:
            written = _ADAPTER.validate_json(data)
        except ValidationError as error:
            raise InputError(f"not a model: {explain(error)}", hint="use the bytes that the training gave") from None
        fields = {name: getattr(written, name) for name in _PLAIN_FIELDS}
        arrays = {name: _unpack(name, packed) for name, packed in written.arrays.items()}
        model = cls(**fields, features=written.features, arrays=arrays)
        if model.to_bytes() != data:
            raise InputError("not a model: its JSON is not in canonical form")
        return model

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of a domain and the canonical bytes."""
        return hashlib.sha256(DOMAIN + self.to_bytes()).hexdigest()

    def require(self, kind: str, version: int, job: str) -> None:
        """Raise `InputError` unless this is a part of that kind and version, trained by that job."""
        if (self.kind, self.version) != (kind, version):
            raise InputError(
                f"{self.party}: its model is of kind {self.kind} version {self.version}, not {kind} version {version}",
                hint="name a model of the right kind, or use the release that trained it",
            )
        if self.job != job:
            raise InputError(f"{self.party}: its model was trained by job {self.job}, not by {job}")

    def array(self, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """The array of that name; raises `InputError` unless it has that type and shape (-1: any length)."""
        array = self.arrays.get(name)
        if array is None:
            raise InputError(f"not a model of kind {self.kind}: it has no array {name!r}")
        fits = len(shape) == array.ndim and all(w in (-1, n) for w, n in zip(shape, array.shape, strict=True))
        if array.dtype.name != dtype or not fits:
            raise InputError(f"not a model of kind {self.kind}: its array {name!r} has another type or shape")
        return array


@with_config(_STRICT)
@dataclass(frozen=True)
class _Written:
    """The fields of a model as the bytes hold them."""

    format: Literal[1]
    kind: Kind
    version: Annotated[StrictInt, Field(ge=1, le=2**31)]
    job: Hex32
    job_digest: Hex64
    session: Hex32
    party: Name
    members: Annotated[dict[Name, Kind], Field(max_length=50)]
    features: Annotated[tuple[Feature, ...], Field(max_length=MAX_FEATURES)]
    label: Text
    parameters: dict[Name, Any]
    sizes: dict[Name, StrictInt]
    metrics: dict[Name, Number]
    revealed: dict[Name, Text]
    content: dict[Name, Any] = field(repr=False)
    arrays: Annotated[dict[Name, _Packed], Field(max_length=1000)] = field(repr=False)


_ADAPTER = TypeAdapter(_Written)
_PLAIN_FIELDS = [name for name in _Written.__dataclass_fields__ if name not in ("format", "features", "arrays")]


def _pack(array: NDArray[Any]) -> _Packed:
    data = np.ascontiguousarray(array, _TYPES[array.dtype.name]).tobytes()
    return _Packed(array.dtype.name, tuple(array.shape), base64.b64encode(data).decode())  # type: ignore[arg-type]


def _unpack(name: str, packed: _Packed) -> NDArray[Any]:
    dtype = np.dtype(_TYPES[packed.type])
    try:
        data = base64.b64decode(packed.data, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"not a model: array {name[:80]!r} is not base64") from None
    if len(data) != math.prod(packed.shape) * dtype.itemsize:
        raise InputError(f"not a model: array {name[:80]!r} has {len(data)} bytes, which its shape excludes")
    array = np.frombuffer(data, dtype).reshape(packed.shape).astype(packed.type)
    if packed.type == "float64" and not np.isfinite(array).all():
        raise InputError(f"not a model: array {name[:80]!r} holds a number that is not finite")
    return array


def readable(model: Model) -> dict[str, Any]:
    """The model as plain values that any JSON reader shows, with arrays as lists."""
    fields = {name: getattr(model, name) for name in _PLAIN_FIELDS}
    arrays = {name: array.tolist() for name, array in model.arrays.items()}
    return {**fields, "features": [asdict(feature) for feature in model.features], "arrays": arrays}
