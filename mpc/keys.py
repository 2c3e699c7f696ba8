"""From the key columns of an Arrow table to keys that two parties can compare.

Each value becomes text, is normalised by its column's profile, and the normal forms of a row, each with its length
in front, are hashed with the session as salt: equal digests mean equal keys under the same profiles. A row with a
missing value in any key column has no key and matches nothing. Work is done once for each different value of a
column and once for each different key, not for each row; where hardly a value repeats and none needs normalising, it
is quicker to hash every row and compare digests.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mpc.errors import InputError
from mpc.normalisation import DEFAULT, profile
from mpc.primitives.threads import spread, usable_cores

DIGEST_BYTES = 32
ROOM = 64  # for digests that are appended
_DOMAIN = b"sealane/keys/1\0"
_MISSING = -1
_INVALID = -2
_BATCH_ROWS = 2**16  # by the first of which it is judged whether keys repeat
_HARDLY_ANY = 0.1  # repeated keys among these

_Codes = npt.NDArray[np.int64]

#: From distinct messages to their digests (n x 32 bytes) under a header and a session of 16 bytes. Both parties of a
#: protocol use the same; the digests must be collision resistant, and independent for another header or session.
Digests = Callable[[pa.LargeBinaryArray, bytes, bytes], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Quality:
    """What became of a table's rows: rows = nulls + invalid + duplicates + distinct.

    `nulls` are rows with a missing value in a key column, `invalid` rows with a value that its profile refuses (and
    whatever else), `duplicates` rows that repeat the key of an earlier row, `distinct` the different keys.
    """

    rows: int
    nulls: int
    invalid: int
    duplicates: int
    distinct: int


@dataclass(frozen=True)
class Keys:
    """The different keys of a table, in the order in which they first occur.

    `digests` is an array of (distinct, 32) bytes; `key_of_row` gives each row's index into it, or a negative number
    where the row has no key.
    """

    digests: npt.NDArray[np.uint8] = field(repr=False)
    key_of_row: _Codes = field(repr=False)
    quality: Quality

    def rows_of(self, chosen: npt.NDArray[np.bool_]) -> _Codes:
        """The rows, in their order, whose key is chosen; `chosen` has one entry a distinct key."""
        wanted = np.append(chosen, False)  # a row without a key looks up the entry at the end
        return np.flatnonzero(wanted[np.where(self.key_of_row < 0, -1, self.key_of_row)])


@dataclass(frozen=True)
class _Column:
    """A column's normal forms: `codes` gives each row's index into `texts`, or _MISSING or _INVALID."""

    texts: pa.LargeStringArray = field(repr=False)
    codes: _Codes = field(repr=False)
    complaint: str  # why the first invalid value is one


def blake2b_digests(messages: pa.LargeBinaryArray, header: bytes, session: bytes) -> npt.NDArray[np.uint8]:
    """BLAKE2b-256 of the header and a message, salted by the session."""
    start = hashlib.blake2b(_DOMAIN + header, digest_size=DIGEST_BYTES, salt=session)
    out = bytearray()
    for message in messages.to_pylist():
        state = start.copy()
        state.update(message)
        out += state.digest()
    return np.frombuffer(bytes(out), dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def encode_keys(
    table: pa.Table,
    profiles: Sequence[str],
    session: bytes,
    digests: Digests = blake2b_digests,
    *,
    first_row: int = 0,
    rows: _Codes | None = None,
) -> Keys:
    """The keys of `table`, whose columns are all key columns, one profile name each; `session` has 16 bytes.

    Raises `InputError` for a column of a type that has no text, and for a value that its profile refuses, naming
    its column and row (counted from 1, the table's own being preceded by `first_row` others, or those numbered `rows`
    from 0).
    """
    header = b"".join(len(name.encode()).to_bytes(4, "little") + name.encode() for name in profiles)
    if _are_plain(table, profiles):
        keys = _keys_by_digest(table, lambda messages: digests(messages, header, session))
        if keys is not None:
            return keys
    columns = _columns(table, profiles, first_row)
    for name, column in zip(table.column_names, columns, strict=True):
        bad = np.flatnonzero(column.codes == _INVALID)
        if len(bad):
            row = bad[0] if rows is None else rows[bad[0]]
            raise InputError(
                f"column {name!r}, row {first_row + row + 1}: {column.complaint}",
                hint="correct or remove such rows; the protocol psi.dry_run counts them beforehand",
            )
    key_of_row, first_rows, quality = _number(columns, table.num_rows)
    messages = _messages([column.texts.take(pa.array(column.codes[first_rows])) for column in columns])
    return Keys(digests(messages, header, session), key_of_row, quality)


def examine_keys(table: pa.Table, profiles: Sequence[str]) -> Quality:
    """What `encode_keys` would find, with the values that it refuses counted; raises `InputError` for a wrong type."""
    return _number(_columns(table, profiles, 0), table.num_rows)[2]


def _columns(table: pa.Table, profiles: Sequence[str], first_row: int) -> list[_Column]:
    if len(profiles) != table.num_columns or not profiles:
        raise InputError(
            f"{len(profiles)} normalisation profiles for {table.num_columns} key columns: give one a column"
        )
    return [
        _normalise(name, column, profile_name, first_row)
        for name, column, profile_name in zip(table.column_names, table.columns, profiles, strict=True)
    ]


def _normalise(name: str, column: pa.ChunkedArray, profile_name: str, first_row: int) -> _Column:
    import pyarrow.compute as pc

    encoded = _as_dictionary(name, column)
    texts = _texts(name, encoded, first_row)
    if profile_name == DEFAULT:  # nothing changes and nothing is refused: no value need leave Arrow
        filled = pc.not_equal(texts, "")
        forms = np.where(filled, np.cumsum(filled) - 1, _MISSING)
        return _Column(texts.filter(filled), _codes_of_rows(encoded, forms), "")
    normalise = profile(profile_name)
    found: list[int] = []
    codes: dict[str, int] = {}
    complaint = ""
    for value in texts.to_pylist():
        try:
            text = normalise(value)
        except ValueError as error:
            complaint = complaint or str(error)
            found.append(_INVALID)
            continue
        found.append(codes.setdefault(text, len(codes)) if text else _MISSING)
    return _Column(pa.array(list(codes), pa.large_string()), _codes_of_rows(encoded, found), complaint)


def _codes_of_rows(encoded: pa.DictionaryArray, code_of_value: Sequence[int] | _Codes) -> _Codes:
    import pyarrow.compute as pc

    indices = pc.fill_null(encoded.indices, len(code_of_value)).to_numpy(zero_copy_only=False)
    codes: _Codes = np.append(np.asarray(code_of_value, dtype=np.int64), _MISSING)[indices]
    return codes


def _as_dictionary(name: str, column: pa.ChunkedArray) -> pa.DictionaryArray:
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    usable = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
    if not any(test(kind) for test in (*usable, pa.types.is_date, pa.types.is_null)):
        raise InputError(
            f"column {name!r} is of type {kind}: keys are text, integers or dates",
            hint="cast it to one of these where the dataset is defined: in pandas .dt.date for times, and "
            ".astype('Int64') for integers some of which are missing; a fraction is not a key, as it may be rounded",
        )
    if not (pa.types.is_integer(kind) or pa.types.is_date(kind)):
        column = column.cast(pa.large_string())  # whose chunks of any size combine into one
    return pc.dictionary_encode(column.combine_chunks())


def _texts(name: str, encoded: pa.DictionaryArray, first_row: int) -> pa.LargeStringArray:
    import pyarrow.compute as pc

    values = encoded.dictionary
    if pa.types.is_date(values.type):
        values = pc.strftime(values, format="%Y-%m-%d")
    texts = values.cast(pa.large_string())
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        row = first_row + _first_bad_utf8(encoded)
        raise InputError(f"column {name!r}, row {row + 1}: text that is not UTF-8") from None
    return texts


def _first_bad_utf8(encoded: pa.DictionaryArray) -> int:
    for row, value in enumerate(encoded.dictionary_decode().cast(pa.large_binary()).to_pylist()):
        try:
            (value or b"").decode()
        except UnicodeDecodeError:
            return row
    raise AssertionError("every value is UTF-8")


def _number(columns: list[_Column], rows: int) -> tuple[_Codes, _Codes, Quality]:
    """Each row's key number, in order of first occurrence; the row where each key first occurs; the counts."""
    invalid = np.zeros(rows, dtype=bool)
    missing = np.zeros(rows, dtype=bool)
    for column in columns:
        invalid |= column.codes == _INVALID
        missing |= column.codes == _MISSING
    usable = np.flatnonzero(~(invalid | missing))
    numbers = columns[0].codes[usable]
    for column in columns[1:]:  # numbers stay below the number of rows, so that the product fits 64 bits
        combined = numbers * len(column.texts) + column.codes[usable]
        numbers = np.unique(combined, return_inverse=True)[1].astype(np.int64)
    first = np.full(numbers.max(initial=-1) + 1, -1)
    first[numbers[::-1]] = np.arange(len(usable))[::-1]  # where rows share a number, the last to be written stays
    present = np.flatnonzero(first >= 0)
    order = present[np.argsort(first[present])]
    rank = np.empty_like(first)
    rank[order] = np.arange(len(order))
    key_of_row = np.full(rows, _MISSING, dtype=np.int64)
    key_of_row[usable] = rank[numbers]
    nulls = int(np.count_nonzero(missing & ~invalid))
    quality = Quality(rows, nulls, int(np.count_nonzero(invalid)), len(usable) - len(order), len(order))
    return key_of_row, usable[first[order]], quality


def _messages(forms: Sequence[pa.LargeStringArray]) -> pa.LargeBinaryArray:
    """What stands for each key: its normal forms, each behind its length in 4 bytes, little-endian."""
    import pyarrow.compute as pc

    parts = []
    for texts in forms:
        binary = texts.cast(pa.large_binary())
        lengths = pc.binary_length(binary).to_numpy().astype("<u4")
        prefixes = pa.Array.from_buffers(pa.binary(4), len(binary), [None, pa.py_buffer(lengths.tobytes())])
        parts += [prefixes.cast(pa.large_binary()), binary]
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))


def _keys_by_digest(table: pa.Table, digests: Callable[[pa.LargeBinaryArray], npt.NDArray[np.uint8]]) -> Keys | None:
    """The keys of rows that are their own normal forms: equal keys are those with equal digests.

    None if many of the first rows repeat, or a row is not UTF-8: then the other way is the quicker one, or says which.
    """
    rows = table.num_rows
    hashed = _with_room(rows)
    filled = np.empty(rows, np.bool_)

    def work(batch: slice) -> None:
        texts = [_text(column.slice(batch.start, batch.stop - batch.start)) for column in table.columns]
        messages, filled[batch] = _framed(texts)
        hashed[batch] = digests(messages)

    first_batch = slice(0, min(_BATCH_ROWS, rows))
    try:
        work(first_batch)
        if _repeats(hashed[first_batch], filled[first_batch]):
            return None
        rest = rows - first_batch.stop
        spread(lambda part: work(slice(part.start + _BATCH_ROWS, part.stop + _BATCH_ROWS)), rest, _BATCH_ROWS)
    except pa.ArrowInvalid:
        return None
    if filled.all() and _all_differ(hashed):
        return Keys(hashed, np.arange(rows), Quality(rows, 0, 0, 0, rows))
    first, numbers = _group(hashed, filled)
    usable = int(np.count_nonzero(filled))
    quality = Quality(rows, rows - usable, 0, usable - len(first), len(first))
    if len(first) == rows:
        return Keys(hashed, numbers, quality)
    different = _with_room(len(first))
    np.take(hashed, first, axis=0, out=different, mode="clip")  # in other modes it is first put elsewhere
    return Keys(different, numbers, quality)


def _with_room(count: int) -> npt.NDArray[np.uint8]:
    """Memory for digests, and behind them for those that a protocol adds; see `append_digests`."""
    return np.empty((count + ROOM, DIGEST_BYTES), np.uint8)[:count]


def append_digests(digests: npt.NDArray[np.uint8], more: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """`digests` and then `more`, up to `ROOM` of them, without a copy where there is room behind `digests`."""
    whole, count = digests.base, len(digests) + len(more)
    with_room = isinstance(whole, np.ndarray) and whole.shape == (len(digests) + ROOM, DIGEST_BYTES)
    if whole is None or not with_room or len(more) > ROOM:
        return np.concatenate([digests, more])
    whole[len(digests) : count] = more
    return whole[:count]


def _text(column: pa.ChunkedArray) -> pa.StringArray | pa.LargeStringArray:
    """The column in one piece, as text; raises `pa.ArrowInvalid` if that is not UTF-8."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        column = column.cast(pa.large_string())
    text = column.combine_chunks()
    text = text if isinstance(text, pa.Array) else pa.concat_arrays(text.chunks)
    text.validate(full=True)
    return text


def _framed(
    texts: Sequence[pa.StringArray | pa.LargeStringArray],
) -> tuple[pa.LargeBinaryArray, npt.NDArray[np.bool_]]:
    """What stands for each row: its values, each behind its length in 4 bytes; and whether none of them is missing."""
    from mpc.kernels.keys import append_framed

    rows = len(texts[0])
    filled = np.ones(rows, np.bool_)
    parts = []
    for text in texts:
        validity, offsets, data = text.buffers()
        width = np.int64 if pa.types.is_large_string(text.type) else np.int32
        ends = np.frombuffer(offsets or bytes(8), width)[text.offset : text.offset + rows + 1].astype(np.int64)
        lengths = np.diff(ends)
        if validity is not None:
            first = text.offset // 8
            packed = np.frombuffer(validity, np.uint8)[first : -(-(text.offset + rows) // 8)]
            lengths *= np.unpackbits(packed, bitorder="little")[text.offset - 8 * first :][:rows]
        filled &= lengths > 0
        parts.append((ends[:-1], lengths, np.frombuffer(data or b"", np.uint8)))
    bounds = np.zeros(rows + 1, np.int64)
    np.cumsum(sum(4 + lengths for _, lengths, _ in parts), out=bounds[1:])
    out, places = np.empty(bounds[-1], np.uint8), bounds[:-1].copy()
    for starts, lengths, data in parts:
        append_framed(starts, lengths, data, places, out)
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(out)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), rows, buffers), filled


def _repeats(digests: npt.NDArray[np.uint8], filled: npt.NDArray[np.bool_]) -> bool:
    return bool(len(_group(digests, filled)[0]) < (1 - _HARDLY_ANY) * np.count_nonzero(filled))


def _all_differ(digests: npt.NDArray[np.uint8]) -> bool:
    """Whether no two digests are equal; false, too, where that would take longer to find out."""
    from mpc.kernels.keys import all_differ

    shares = usable_cores() if len(digests) > _BATCH_ROWS else 1
    places = 1 << (len(digests) // shares * 5 // 4).bit_length()
    found = np.zeros(shares, np.bool_)

    def look(share: slice) -> None:
        table = np.zeros(places, np.uint32)
        found[share] = all_differ(digests.view(np.uint64), share.start, shares, table)

    spread(look, shares, 1)
    return bool(found.all())


def _group(digests: npt.NDArray[np.uint8], filled: npt.NDArray[np.bool_]) -> tuple[_Codes, _Codes]:
    """Where each different digest of a filled row first occurs, in order; and each row's number in that order."""
    from mpc.kernels.keys import number

    rows = len(digests)
    table = np.zeros(1 << (rows + rows // 4).bit_length(), np.uint64)
    first, numbers = np.empty(rows, np.int64), np.empty(rows, np.int64)
    count = number(digests.view(np.uint64), filled, table, first, numbers)
    return first[:count], numbers


def _are_plain(table: pa.Table, profiles: Sequence[str]) -> bool:
    """Whether every value is its own normal form as text."""
    usable = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
    return (
        set(profiles) == {DEFAULT}
        and len(profiles) == table.num_columns
        and all(any(test(column.type) for test in usable) for column in table.columns)
    )
