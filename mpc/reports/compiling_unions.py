"""From the text of a report on a union of tables to its plan; the same text gives every party the same plan."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any

from sqlglot import exp

from mpc.conditions import Condition, columns_of, describe
from mpc.job import NAME, canonical_json
from mpc.reports.compiling import plan_of, table_named
from mpc.reports.compiling_conditions import Resolver, compile_where
from mpc.reports.grammar import only, parse, refuse, words
from mpc.reports.plan import Plan, Table

MAX_PARTIES = 50
MAX_COLUMNS = 40
_DOMAIN = b"sealane/report.union/plan/1\0"
_EXAMPLE = (
    "a report on a union is: SELECT group keys and aggregates FROM (SELECT columns FROM party.dataset WHERE conditions "
    "UNION ALL SELECT columns FROM party.dataset ...) AS name GROUP BY keys HAVING COUNT(*) >= n ORDER BY ... LIMIT n; "
    "see docs/reports.md"
)


@dataclass(frozen=True)
class Source:
    """A party's table in the union: its columns in the union's order, and the conditions on its own columns."""

    party: str
    dataset: str
    columns: tuple[str, ...]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class UnionPlan:
    """A report on a union. `plan` is over one table that is named `plan.parties[0]` and has the columns `names`."""

    plan: Plan
    names: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def parties(self) -> tuple[str, ...]:
        return tuple(source.party for source in self.sources)

    @property
    def alias(self) -> str:
        """What the union is called."""
        return self.plan.parties[0]

    def source(self, party: str) -> Source:
        """The party's table."""
        return next(source for source in self.sources if source.party == party)

    def used(self) -> dict[str, tuple[str, ...]]:
        """The union's columns that the report uses, by slot, sorted."""
        slots = self.plan.columns(self.alias)
        return {slot: names for slot, names in slots.items() if slot != "key"}

    def columns(self, party: str) -> dict[str, tuple[str, ...]]:
        """The party's own columns by slot of its role, but for those that tell people apart."""
        source = self.source(party)
        own = dict(zip(self.names, source.columns, strict=True))
        found = {slot: tuple(own[name] for name in names) for slot, names in self.used().items()}
        filters = {name for condition in source.conditions for name in columns_of(condition)}
        return {**found, **({"filter": tuple(sorted(filters))} if filters else {})}

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of a domain and canonical JSON of all that determines the report's result."""
        sources: list[Any] = [
            [each.party, each.dataset, list(each.columns), [describe(condition) for condition in each.conditions]]
            for each in self.sources
        ]
        return sha256(_DOMAIN + self.plan.digest + canonical_json([list(self.names), sources])).digest()


def is_union(sql: str) -> bool:
    """Whether a report is on a union rather than a join; raises `InputError` for what is no report at all."""
    source = parse(sql).args.get("from_")
    return source is not None and isinstance(source.this, exp.Subquery)


@lru_cache(32)
def compile_union(sql: str) -> UnionPlan:
    """The plan of a report on a union; raises `InputError` with a sentence on what is not supported and what is."""
    select = parse(sql)
    try:
        return _compile(select)
    except RecursionError:
        raise refuse("is nested too deeply", _EXAMPLE) from None


def _compile(select: exp.Select) -> UnionPlan:
    source = select.args.get("from_")
    if source is None or not isinstance(source.this, exp.Subquery) or select.args.get("joins"):
        raise refuse("does not select from one union", _EXAMPLE)
    if select.args.get("where"):
        raise refuse("has a condition on the union", "write it into each SELECT of the union, on its own columns")
    subquery = source.this
    only(subquery, "this", "alias")
    alias = subquery.alias or "union"
    if not NAME.fullmatch(alias):
        raise refuse("the union's name has other characters than a-z, 0-9, '.', '_' and '-'")
    branches = _branches(subquery.this)
    names = _names(branches[0])
    sources = tuple(_source(branch, len(names)) for branch in branches)
    parties = [each.party for each in sources]
    if len(set(parties)) != len(parties):
        raise refuse("a party has two tables in the union", "each party brings one table")
    _qualify(select, alias)
    plan = plan_of(select, Resolver({alias: alias}, (Table(alias, "", ()),)), {}, ())
    made = UnionPlan(plan, names, sources)
    unknown = sorted({name for used in made.used().values() for name in used} - set(names))
    if unknown:
        raise refuse(f"the union has no column {unknown[0][:60]}", f"its columns are {', '.join(names)}")
    return made


def _branches(node: exp.Expr) -> list[exp.Select]:
    """The SELECTs that UNION ALL joins, in their order."""
    found: list[exp.Select] = []
    stack = [node]
    while stack:
        each = stack.pop().unnest()
        if isinstance(each, exp.Union):
            only(each, "this", "expression", *(["distinct"] if each.args.get("distinct") else []))
            if each.args.get("distinct"):
                raise refuse("UNION leaves out equal rows of several parties", "write UNION ALL")
            stack += [each.expression, each.this]
        elif isinstance(each, exp.Select):
            found.append(each)
        else:
            raise refuse(f"the union has {words(each)}", _EXAMPLE)
    if not 2 <= len(found) <= MAX_PARTIES:
        raise refuse(f"the union is of {len(found)} tables (2 to {MAX_PARTIES})", _EXAMPLE)
    return found


def _names(first: exp.Select) -> tuple[str, ...]:
    """The union's columns, which have the first SELECT's names."""
    names = tuple(node.alias_or_name for node in first.expressions)
    if not 1 <= len(names) <= MAX_COLUMNS or "" in names or len(set(names)) != len(names):
        raise refuse(f"the union's first SELECT names 1 to {MAX_COLUMNS} columns, each once")
    return names


def _source(branch: exp.Select, width: int) -> Source:
    only(branch, "expressions", "from_", "where", *(["kind"] if branch.args.get("kind") == "SELECT" else []))
    if branch.args.get("from_") is None:
        raise refuse("a SELECT of the union has no FROM", _EXAMPLE)
    alias, party, dataset = table_named(branch.args["from_"].this)
    columns = []
    _qualify(branch, alias)
    resolver = Resolver({alias: party}, (Table(party, dataset, ()),))
    for node in branch.expressions:
        inner = node.unalias()
        if not isinstance(inner, exp.Column):
            raise refuse(f"a SELECT of the union has {words(inner)}, which is no column", _EXAMPLE)
        columns.append(resolver.column(inner).name)
    if len(columns) != width or len(set(columns)) != width:
        raise refuse(f"{party} selects {len(columns)} columns, not {width} different ones", _EXAMPLE)
    filters, _ = compile_where(branch.args.get("where"), resolver)
    return Source(party, dataset, tuple(columns), filters.get(party, ()))


def _qualify(select: exp.Select, alias: str) -> None:
    """Columns that name no table are of the only one there is, but for names of what is selected."""
    named = {node.alias for node in select.expressions if isinstance(node, exp.Alias)}
    for part in ("expressions", "where", "group", "having", "order"):
        nodes = select.args.get(part) or []
        for node in nodes if isinstance(nodes, list) else [nodes]:
            for column in list(node.find_all(exp.Column)):
                if not column.table and (part in ("expressions", "where") or column.name not in named):
                    column.set("table", exp.to_identifier(alias))
