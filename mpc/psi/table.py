"""Where the protocols of this folder meet Arrow. Imported inside the roles, so that a node shows specs without it."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mpc.errors import InputError
from mpc.keys import Digests, Keys, Quality, blake2b_digests, encode_keys, examine_keys
from mpc.psi.params import MAX_KEYS, DryRunParams, Params, profile_names
from mpc.psi.rows import take
from mpc.spec import Party


def load_keys(party: Party[Params], tables: Mapping[str, pa.Table], digests: Digests = blake2b_digests) -> Keys:
    """The keys of the slot "key"; raises `InputError` when they are too many or cannot be used."""
    keys = encode_keys(tables["key"], profile_names(party.job, party.params), party.session, digests)
    pa.default_memory_pool().release_unused()  # else what Arrow keeps for reuse stands beside the protocol's own arrays
    if len(keys.digests) > MAX_KEYS:
        raise InputError(f"{len(keys.digests)} different keys are too many (at most {MAX_KEYS})")
    return keys


def load_quality(party: Party[DryRunParams], tables: Mapping[str, pa.Table]) -> Quality:
    """What became of the rows of the slot "key"."""
    return examine_keys(tables["key"], profile_names(party.job, party.params))


def matched_rows(tables: Mapping[str, pa.Table], keys: Keys, matched: npt.NDArray[np.bool_]) -> pa.Table:
    """The party's own rows whose key matched, in their order: key columns, then output columns not among them."""
    return take(own_columns(tables), keys.rows_of(matched))


def own_columns(tables: Mapping[str, pa.Table]) -> pa.Table:
    """The key columns, then the output columns not among them."""
    table = tables["key"]
    output = tables.get("output")
    if output is not None:
        for field, column in zip(output.schema, output.columns, strict=True):
            if field.name not in table.column_names:
                table = table.append_column(field, column)
    return table


def one_row(counts: Mapping[str, int]) -> pa.Table:
    """A table of one row, a column a count."""
    return pa.table({name: pa.array([count], pa.int64()) for name, count in counts.items()})


def quality_rows(parties: Mapping[str, Quality]) -> pa.Table:
    """One row a party: its name and its counts."""
    names = list(parties)
    counts = ("rows", "nulls", "invalid", "duplicates", "distinct")
    columns = {count: pa.array([getattr(parties[name], count) for name in names], pa.int64()) for count in counts}
    return pa.table({"party": pa.array(names, pa.string()), **columns})
