"""From the text of a report to its plan; the same text gives every party the same plan.

A refusal names the rule, and the column where there is one. What depends on a party's own policy is not decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from sqlglot import exp

from mpc.conditions import Condition, number_of
from mpc.errors import InputError
from mpc.job import NAME
from mpc.reports import expressions
from mpc.reports.compiling_conditions import Resolver, compile_where, joined_by
from mpc.reports.expressions import MAX_DEGREE, MAX_TERMS, Column, Polynomial
from mpc.reports.grammar import given, only, parse, refuse, words
from mpc.reports.plan import Aggregate, Buckets, Comparison, Function, GroupKey, Ordering, Output, Plan, Table

MAX_PARTIES = 10
MAX_OUTPUTS = 40
MAX_GROUPS = 6
MAX_BUCKETS = 1000
MAX_LIMIT = 10_000

_FUNCTIONS: "dict[type[exp.Expr], Function]" = {
    exp.Sum: "sum", exp.Avg: "avg", exp.Min: "min", exp.Max: "max",
    exp.Variance: "var_samp", exp.VariancePop: "var_pop",
    exp.Stddev: "stddev_samp", exp.StddevSamp: "stddev_samp", exp.StddevPop: "stddev_pop", exp.Median: "quantile_cont",
    exp.Quantile: "quantile_disc", exp.PercentileDisc: "quantile_disc", exp.PercentileCont: "quantile_cont",
}  # fmt: skip
_AGGREGATES = (
    "COUNT(*), COUNT(column), COUNT(DISTINCT key), SUM, AVG, VAR_SAMP, VAR_POP, STDDEV_SAMP, STDDEV_POP, MIN, MAX, "
    "MEDIAN, QUANTILE_DISC and QUANTILE_CONT"
)


@lru_cache(32)
def compile_sql(sql: str) -> Plan:
    """The plan of a report; raises `InputError` with a sentence on what is not supported and what is."""
    select = parse(sql)
    try:
        return _compile(select)
    except RecursionError:
        raise refuse("is nested too deeply") from None


def _compile(select: exp.Select) -> Plan:
    resolver = _tables(select)
    plan = plan_of(select, resolver, *compile_where(select.args.get("where"), resolver))
    _check_keys_are_not_shown(plan)
    return plan


def plan_of(
    select: exp.Select,
    resolver: Resolver,
    filters: Mapping[str, tuple[Condition, ...]],
    comparisons: tuple[Comparison, ...],
) -> Plan:
    """The plan of a SELECT over known tables and conditions."""
    items = _items(select, resolver)
    groups = _groups(select, resolver, items)
    outputs, aggregates = _outputs(items, groups)
    order = tuple(_orderings(select, items))
    return Plan(
        tables=resolver.tables,
        groups=groups,
        aggregates=aggregates,
        outputs=outputs,
        filters=filters,
        comparisons=comparisons,
        having=_having(select),
        order=order,
        limit=_limit(select, order, outputs, aggregates),
    )


def _tables(select: exp.Select) -> Resolver:
    """The tables of FROM and JOIN, by the names the text gives them."""
    source = select.args.get("from_")
    joins = select.args.get("joins") or []
    if source is None:
        raise refuse("has no FROM")
    if not joins:
        raise refuse("joins no other party's table; figures of one party need no joint report")
    if len(joins) >= MAX_PARTIES:
        raise refuse(f"joins more than {MAX_PARTIES} tables")
    aliases: dict[str, tuple[str, str]] = {}
    for node in [source.this, *(join.this for join in joins)]:
        alias, party, dataset = table_named(node)
        if alias in aliases or party in {known for known, _ in aliases.values()}:
            raise refuse(f"names the table or party {alias} twice", "each party brings one table")
        aliases[alias] = party, dataset
    keys = _keys(list(aliases), joins)
    return Resolver(
        {alias: party for alias, (party, _) in aliases.items()},
        tuple(Table(party, dataset, keys[alias]) for alias, (party, dataset) in aliases.items()),
    )


def table_named(node: exp.Expr) -> tuple[str, str, str]:
    """What a table is called, its party and its dataset; raises `InputError` unless it is written party.dataset."""
    if not isinstance(node, exp.Table) or not node.args.get("db"):
        raise refuse("a table is not written party.dataset", 'e.g. FROM "hk-bank".accounts AS hk')
    only(node, "this", "db", "alias")
    if not isinstance(node.this, exp.Identifier):
        raise refuse(f"{words(node.this)} is not a table")
    party, dataset = node.text("db"), node.name
    if not NAME.fullmatch(party) or not NAME.fullmatch(dataset):
        raise refuse("a party or dataset has a name with other characters than a-z, 0-9, '.', '_' and '-'")
    if node.args.get("alias") and given(node.args["alias"]) != {"this"}:
        raise refuse("an alias of a table names columns")
    return node.alias or party, party, dataset


def _keys(aliases: list[str], joins: Sequence[exp.Join]) -> dict[str, tuple[str, ...]]:
    """The key columns of each table, in one order."""
    first = aliases[0]
    keys: dict[str, tuple[str, ...]] = {}
    for alias, join in zip(aliases[1:], joins, strict=True):
        said = " ".join(word for word in (join.method, join.side, join.kind) if word)
        if said not in ("", "INNER"):
            raise refuse(f"{said} JOIN is not supported: a report is over the people whom all parties have")
        only(join, "this", "using", "on", "kind")
        if join.args.get("using"):
            names = tuple(column.name for column in join.args["using"])
            pairs = [(name, name) for name in names]
        elif join.args.get("on"):
            known = {first: keys.get(first, ()), **{each: keys[each] for each in keys if each != first}}
            pairs = [_pair(part, known, alias) for part in joined_by(exp.And, join.args["on"])]
        else:
            raise refuse("a JOIN has neither USING nor ON")
        ours, theirs = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
        if not 1 <= len(pairs) <= 8 or len(set(ours)) != len(ours) or len(set(theirs)) != len(theirs):
            raise refuse("a JOIN takes 1 to 8 key columns, each once")
        if keys.setdefault(first, ours) != ours:
            raise refuse(f"the JOINs do not all use the same key columns of {first}")
        keys[alias] = theirs
    return keys


def _pair(node: exp.Expr, known: Mapping[str, tuple[str, ...]], alias: str) -> tuple[str, str]:
    """The first table's key column and `alias`'s that a condition of ON makes equal; `known` are the keys so far."""
    first = next(iter(known))
    hint = f"join with USING (key), or ON {first}.key = {alias}.key"
    if not isinstance(node, exp.EQ):
        raise refuse("ON has something else than equal columns", hint)
    sides = {side.table: side.name for side in (node.this, node.expression) if isinstance(side, exp.Column)}
    (other,) = set(sides) - {alias} if len(sides) == 2 and alias in sides else ("",)
    if other == first:
        return sides[first], sides[alias]
    if sides.get(other, "") not in known.get(other, ()):
        raise refuse(f"ON does not compare a column of {first} with one of {alias}", hint)
    return known[first][known[other].index(sides[other])], sides[alias]


@dataclass(frozen=True)
class _Item:
    """Something selected: its name in the result, and what it is."""

    name: str
    alias: str
    node: exp.Expr
    meaning: GroupKey | Aggregate


def _items(select: exp.Select, resolver: Resolver) -> list[_Item]:
    if not 1 <= len(select.expressions) <= MAX_OUTPUTS:
        raise refuse(f"selects {len(select.expressions)} columns (at most {MAX_OUTPUTS})")
    items: list[_Item] = []
    for node in select.expressions:
        alias = node.alias if isinstance(node, exp.Alias) else ""
        inner = node.unalias()
        meaning = _group_key(inner, resolver) or _aggregate(inner, resolver)
        name = alias or (inner.name if isinstance(inner, exp.Column) else inner.sql(dialect="duckdb").lower())
        items.append(_Item(name, alias, inner, meaning))
    names = [item.name for item in items]
    twice = sorted({name for name in names if names.count(name) > 1} | ({"suppressed"} & set(names)))
    if twice:
        raise refuse(f"two columns of the result would be called {twice[0]}", "give one another name with AS")
    if all(isinstance(item.meaning, GroupKey) for item in items):
        raise refuse("selects no aggregate", f"add one of {_AGGREGATES}")
    return items


def _group_key(node: exp.Expr, resolver: Resolver) -> GroupKey | None:
    if isinstance(node, exp.Column):
        return GroupKey(resolver.column(node))
    if not isinstance(node, exp.WidthBucket):
        return None
    only(node, "this", "min_value", "max_value", "num_buckets")
    bounds = [_number(node.args.get(part)) for part in ("min_value", "max_value", "num_buckets")]
    lower, upper, count = bounds
    if (
        not isinstance(node.this, exp.Column)
        or upper <= lower
        or count.denominator != 1
        or not 1 <= count <= MAX_BUCKETS
    ):
        raise refuse(f"width_bucket takes a column, a lower and a greater upper bound, and 1 to {MAX_BUCKETS} buckets")
    return GroupKey(resolver.column(node.this), Buckets(lower, upper, int(count)))


def _aggregate(node: exp.Expr, resolver: Resolver) -> Aggregate:
    if isinstance(node, exp.Count):
        only(node, "this", "big_int")
        return _count(node.this, resolver)
    function = _FUNCTIONS.get(type(node))
    if function is None:
        raise refuse(
            f"selects {words(node)}, which is neither a column nor an aggregate by itself",
            f"select columns of GROUP BY, and {_AGGREGATES} of columns, +, - and *",
        )
    fraction = Fraction(1, 2)
    if isinstance(node, exp.Quantile | exp.PercentileDisc | exp.PercentileCont):
        only(node, "this", "quantile", "expression")
        fraction = _number(node.args.get("quantile") or node.args.get("expression"))
        if not 0 <= fraction <= 1:
            raise refuse("a quantile's fraction is a number from 0 to 1")
    else:
        only(node, "this")
    argument = _polynomial(node.this, resolver)
    if not argument.columns:
        raise refuse(f"{words(node)} of no column")
    if function in ("min", "max", "quantile_disc", "quantile_cont"):
        if len(argument.parties) != 1:
            raise refuse(f"{words(node)} of columns of several parties", "take it of one party's columns")
        return Aggregate(function, argument, fraction if function.startswith("quantile") else Fraction(0))
    return Aggregate(function, argument)


def _count(node: exp.Expr, resolver: Resolver) -> Aggregate:
    if isinstance(node, exp.Star):
        return Aggregate("rows")
    if isinstance(node, exp.Distinct):
        named = [column.name if isinstance(column, exp.Column) else "" for column in node.expressions]
        if resolver.is_key(named) and not node.args.get("on"):
            return Aggregate("people")
        raise refuse("COUNT(DISTINCT ...) of something else than the join's key", "it counts different people")
    if isinstance(node, exp.Column):
        return Aggregate("count", expressions.column(resolver.column(node)))
    raise refuse(f"COUNT of {words(node)}", "count *, a column, or DISTINCT and the join's key")


def _polynomial(node: exp.Expr, resolver: Resolver) -> Polynomial:
    node = node.unnest()
    if isinstance(node, exp.Column):
        return expressions.column(resolver.column(node))
    if isinstance(node, exp.Literal):
        return expressions.constant(_number(node))
    if isinstance(node, exp.Neg):
        return -_polynomial(node.this, resolver)
    if isinstance(node, exp.Add | exp.Sub | exp.Mul):
        left, right = _polynomial(node.this, resolver), _polynomial(node.expression, resolver)
        if isinstance(node, exp.Mul) and (
            len(left.terms) * len(right.terms) > MAX_TERMS or left.degree + right.degree > MAX_DEGREE
        ):
            raise refuse(f"an expression has more than {MAX_TERMS} terms or multiplies more than {MAX_DEGREE} columns")
        result = left * right if isinstance(node, exp.Mul) else left + (-right if isinstance(node, exp.Sub) else right)
        if len(result.terms) > MAX_TERMS:
            raise refuse(f"an expression has more than {MAX_TERMS} terms")
        return result
    raise refuse(
        f"{words(node)} within an aggregate",
        "write +, - and * of columns and numbers; conditions belong into WHERE, where they cannot pick one row",
    )


def _groups(select: exp.Select, resolver: Resolver, items: list[_Item]) -> tuple[GroupKey, ...]:
    group = select.args.get("group")
    keys: list[GroupKey] = []
    if group is not None:
        only(group, "expressions")
        for node in group.expressions:
            key = _named(node, items) or _group_key(node, resolver)
            if not isinstance(key, GroupKey):
                raise refuse("GROUP BY names something else than a column or width_bucket")
            if key not in keys:
                keys.append(key)
    if len(keys) > MAX_GROUPS:
        raise refuse(f"GROUP BY names more than {MAX_GROUPS} keys")
    for item in items:
        if isinstance(item.meaning, GroupKey) and item.meaning not in keys:
            raise refuse(f"selects {item.meaning.column} as it is, which GROUP BY does not name")
    return tuple(keys)


def _named(node: exp.Expr, items: list[_Item]) -> GroupKey | Aggregate | None:
    """What a position or an alias stands for."""
    index = _position(node, items)
    return None if index is None else items[index].meaning


def _position(node: exp.Expr, items: list[_Item]) -> int | None:
    if isinstance(node, exp.Literal) and not node.is_string:
        index = int(node.this) - 1 if node.this.isdecimal() else -1
        if not 0 <= index < len(items):
            raise refuse("a position is not that of a selected column")
        return index
    if isinstance(node, exp.Column) and not node.table:
        return next((i for i, item in enumerate(items) if item.alias == node.name), None)
    return None


def _outputs(items: list[_Item], groups: tuple[GroupKey, ...]) -> tuple[tuple[Output, ...], tuple[Aggregate, ...]]:
    aggregates = list(dict.fromkeys(item.meaning for item in items if isinstance(item.meaning, Aggregate)))
    outputs = []
    for item in items:
        if isinstance(item.meaning, GroupKey):
            outputs.append(Output(item.name, "group", groups.index(item.meaning)))
        else:
            outputs.append(Output(item.name, "aggregate", aggregates.index(item.meaning)))
    return tuple(outputs), tuple(aggregates)


def _having(select: exp.Select) -> int:
    having = select.args.get("having")
    if having is None:
        return 0
    node = having.this.unnest()
    hint = "write HAVING COUNT(*) >= n"
    if not isinstance(node, exp.GTE | exp.GT) or not isinstance(node.this, exp.Count):
        raise refuse("HAVING is something else than COUNT(*) >= n", hint)
    if not isinstance(node.this.this, exp.Star):
        raise refuse("HAVING counts something else than *", hint)
    least = _number(node.expression)
    if least.denominator != 1 or not 0 <= least <= 2**31:
        raise refuse("HAVING compares with something else than a whole number", hint)
    return int(least) + isinstance(node, exp.GT)


def _orderings(select: exp.Select, items: list[_Item]) -> list[Ordering]:
    order = select.args.get("order")
    if order is None:
        return []
    only(order, "expressions")
    found = []
    for node in order.expressions:
        only(node, "this", "desc", "nulls_first")
        index = _position(node.this, items)
        if index is None:
            same = [i for i, item in enumerate(items) if item.node == node.this]
            index = same[0] if same else None
        if index is None:
            raise refuse("ORDER BY names something that is not selected", "order by selected columns or their names")
        found.append(Ordering(index, bool(node.args.get("desc")), bool(node.args.get("nulls_first"))))
    return found


def _limit(
    select: exp.Select, order: tuple[Ordering, ...], outputs: tuple[Output, ...], aggregates: tuple[Aggregate, ...]
) -> int | None:
    limit = select.args.get("limit")
    if limit is None:
        return None
    only(limit, "expression")
    count = _number(limit.expression)
    if count.denominator != 1 or not 1 <= count <= MAX_LIMIT:
        raise refuse(f"LIMIT is no whole number from 1 to {MAX_LIMIT}")
    first = outputs[order[0].output] if order else None
    ranked: Literal["rows", "people", "sum"] | str
    ranked = aggregates[first.index].function if first is not None and first.kind == "aggregate" else ""
    if ranked not in ("rows", "people", "count", "sum"):
        raise refuse(
            "LIMIT needs ORDER BY a count or a sum first",
            "top groups are found on shares, by COUNT or SUM; others stay hidden",
        )
    return int(count)


def _check_keys_are_not_shown(plan: Plan) -> None:
    """A key names one person: it joins and is counted, and nothing else is done with it."""
    keys = {Column(table.party, name) for table in plan.tables for name in table.key}
    uses: dict[Column, str] = {}
    for group in plan.groups:
        uses[group.column] = "GROUP BY it would show single people"
    for aggregate in plan.aggregates:
        if aggregate.argument is not None:
            uses |= dict.fromkeys(aggregate.argument.columns, "its values are of single people")
    for comparison in plan.comparisons:
        uses |= dict.fromkeys((comparison.left, comparison.right), "a condition on it picks single people")
    for party in plan.filters:
        names = plan.columns(party).get("filter", ())
        uses |= {Column(party, name): "a condition on it picks single people" for name in names}
    for column, why in uses.items():
        if column in keys:
            raise InputError(
                f"rule single_person, column {column}: it is the join's key, and {why}",
                hint="no grant allows that; leave it out, or count people with COUNT(DISTINCT key)",
            )


def _number(node: object) -> Fraction:
    if isinstance(node, exp.Neg):
        return -_number(node.this)
    if not isinstance(node, exp.Literal) or node.is_string:
        raise refuse("a number is expected where something else is written")
    return Fraction(str(number_of(node.this)))
