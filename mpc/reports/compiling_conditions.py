"""The WHERE clause: conditions on one party's columns, and comparisons between two parties' columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sqlglot import exp

from mpc.conditions import And, Compare, Condition, IsNull, Not, Operator, Or, Value, date_of, number_of
from mpc.reports.expressions import Column
from mpc.reports.grammar import only, refuse, words
from mpc.reports.plan import Comparison, Table

MAX_LISTED = 500

_OPERATORS: "dict[type[exp.Expr], Operator]" = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_TURNED: Mapping[Operator, Operator] = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_HINT = (
    "a condition compares a column with a literal or with another party's column, or is IN, BETWEEN or IS NULL; AND, "
    "OR and NOT join those of one party"
)


@dataclass(frozen=True)
class Resolver:
    """What names stand for: `parties` by the names that tables have in the text."""

    parties: Mapping[str, str]
    tables: tuple[Table, ...]

    def column(self, node: exp.Column) -> Column:
        """The column that is meant; raises `InputError` unless it is written table.column."""
        if not isinstance(node.this, exp.Identifier) or node.args.get("db"):
            raise refuse("a column is not written table.column")
        if node.table not in self.parties:
            hint = f"its tables are {', '.join(self.parties)}"
            if not node.table:
                raise refuse(f"column {node.name[:60]} names no table", hint)
            raise refuse(f"column {node.name[:60]} is of a table that FROM does not name", hint)
        return Column(self.parties[node.table], node.name)

    def is_key(self, names: Sequence[str]) -> bool:
        """Whether these are all the key columns of one of the tables."""
        return any(sorted(names) == sorted(table.key) for table in self.tables)


def compile_where(
    where: exp.Where | None, resolver: Resolver
) -> tuple[dict[str, tuple[Condition, ...]], tuple[Comparison, ...]]:
    """Each party's own conditions, all of which hold for a row that counts, and the comparisons between parties."""
    filters: dict[str, list[Condition]] = {}
    comparisons: list[Comparison] = []
    for node in joined_by(exp.And, where.this) if where is not None else ():
        columns = [resolver.column(column) for column in node.find_all(exp.Column)]
        parties = {column.party for column in columns}
        if len(parties) == 1:
            filters.setdefault(parties.pop(), []).append(_condition(node))
        elif len(parties) == 2:
            comparisons.append(_comparison(node, resolver))
        else:
            raise refuse(f"a condition is on columns of {len(parties)} parties", _HINT)
    return {party: tuple(parts) for party, parts in filters.items()}, tuple(comparisons)


def _comparison(node: exp.Expr, resolver: Resolver) -> Comparison:
    operator = _OPERATORS.get(type(node))
    left, right = node.args.get("this"), node.args.get("expression")
    if operator is None or not isinstance(left, exp.Column) or not isinstance(right, exp.Column):
        raise refuse(f"a condition joins columns of two parties by {words(node)}", _HINT)
    return Comparison(resolver.column(left), operator, resolver.column(right))


def _condition(node: exp.Expr) -> Condition:
    node = node.unnest()
    if isinstance(node, exp.And | exp.Or):
        parts = tuple(map(_condition, joined_by(type(node), node)))
        return And(parts) if isinstance(node, exp.And) else Or(parts)
    if isinstance(node, exp.Not):
        return Not(_condition(node.this))
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        return IsNull(_name(node.this))
    if isinstance(node, exp.Between):
        only(node, "this", "low", "high")
        name = _name(node.this)
        return And((Compare(name, ">=", _value(node.args["low"])), Compare(name, "<=", _value(node.args["high"]))))
    if isinstance(node, exp.In):
        only(node, "this", "expressions")
        if not 1 <= len(node.expressions) <= MAX_LISTED:
            raise refuse(f"IN lists no values, or more than {MAX_LISTED}", _HINT)
        return Or(tuple(Compare(_name(node.this), "=", _value(each)) for each in node.expressions))
    operator = _OPERATORS.get(type(node))
    if operator is None:
        raise refuse(f"a condition has {words(node)}", _HINT)
    left, right = cast(exp.Expr, node.this), cast(exp.Expr, node.expression)
    if isinstance(right, exp.Column) and not isinstance(left, exp.Column):
        return Compare(_name(right), _TURNED[operator], _value(left))
    return Compare(_name(left), operator, _value(right))


def joined_by(kind: type[exp.Expr], node: exp.Expr) -> Iterator[exp.Expr]:
    """The parts that a chain of AND or of OR joins, in their order."""
    stack = [node]
    while stack:
        each = stack.pop().unnest()
        if isinstance(each, kind):
            stack += [each.args["expression"], each.args["this"]]
        else:
            yield each


def _name(node: exp.Expr) -> str:
    if not isinstance(node, exp.Column):
        raise refuse(f"a condition is on {words(node)}", _HINT)
    return node.name


def _value(node: exp.Expr) -> Value:
    if isinstance(node, exp.Neg):
        return Value("number", str(-number_of(_value(node.this).text)))
    if isinstance(node, exp.Literal):
        return Value("text", node.this) if node.is_string else Value("number", str(number_of(node.this)))
    if isinstance(node, exp.Boolean):
        return Value("boolean", "true" if node.this else "false")
    if isinstance(node, exp.Cast) and node.to.is_type("date") and isinstance(node.this, exp.Literal):
        return Value("date", str(date_of(node.this.this)))
    raise refuse(f"a condition compares with {words(node)}", _HINT)
