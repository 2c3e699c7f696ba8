"""What researchers hand over as tables."""

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mpc.errors import InputError
from mpc.tables import as_arrow

ROWS = {"id": ["a", None, "c"], "amount": [1, 2, 3]}


def test_an_arrow_table_is_taken_as_it_is() -> None:
    table = pa.table(ROWS)
    assert as_arrow(table) is table


@pytest.mark.parametrize("table", [pd.DataFrame(ROWS), pl.DataFrame(ROWS)], ids=["pandas", "polars"])
def test_pandas_and_polars_give_the_same_columns_and_values(table: object) -> None:
    assert as_arrow(table).to_pydict() == ROWS


def test_row_labels_that_pandas_leaves_after_a_filter_are_no_column() -> None:
    frame = pd.DataFrame(ROWS)
    converted = as_arrow(frame[frame["amount"] > 1])
    assert converted.to_pydict() == {"id": [None, "c"], "amount": [2, 3]}
    assert converted.schema.metadata is None


def test_a_pandas_index_with_a_name_is_a_column() -> None:
    assert set(as_arrow(pd.DataFrame(ROWS).set_index("amount")).column_names) == {"id", "amount"}


def test_a_missing_number_in_pandas_is_null() -> None:
    assert as_arrow(pd.DataFrame({"limit": [1.5, float("nan")]})).to_pydict() == {"limit": [1.5, None]}


def test_a_column_of_several_types_is_refused_without_its_values() -> None:
    with pytest.raises(InputError) as caught:
        as_arrow(pd.DataFrame({"id": [1, "S-secret"]}))
    assert "S-secret" not in str(caught.value)


def test_anything_else_is_refused() -> None:
    with pytest.raises(InputError, match="dict is not a table"):
        as_arrow(ROWS)
