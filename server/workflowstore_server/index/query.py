"""The only place that knows how a selection becomes SQL, and by which way through the tables it is answered."""

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from workflowstore_server.codec import message
from workflowstore_server.index import schema
from workflowstore_server.model.selection import OrderBy, Selection, WorkflowFilter
from workflowstore_server.model.state import WorkflowStatus

NARROW_MAX: Final = 10_000
"""Workflows that a condition may leave, for them to be sorted for each chunk: 5 to 10 ms. A condition that leaves more
of 1,000,000 is met often enough on a walk in the order that is asked for."""

_STATUSES: Final = tuple(message.status_value(status) for status in WorkflowStatus)
_SURROGATES_FIRST, _SURROGATES_LAST, _LAST = 0xD800, 0xDFFF, 0x10FFFF


@dataclass(frozen=True, slots=True)
class Term:
    """A piece of SQL with its parameters."""

    sql: str
    parameters: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """One way through the tables: where rows come from, by which condition, and in which order they come."""

    source: str
    """Tables and the index used. `w` is the workflow."""
    order_by: OrderBy
    """The order in which rows come from it."""
    drivers: tuple[Term, ...] = (Term("TRUE"),)
    """Conditions that the index answers. Several = several times the source, once for each."""
    lower: Term | None = None
    upper: Term | None = None
    """Where the range begins and ends that it reads, in its order."""
    id_column: str = "w.workflow_id"
    probe: str = ""
    """The part of the source that the conditions are about. Empty = all of it."""
    prefixes: tuple[str, ...] = ()
    """Prefixes of the ids, where each is a driver."""

    def where(self, driver: Term, *, lower: bool = True, upper: bool = True) -> list[Term]:
        """Return the conditions that the index answers, with or without the ends of the range."""
        return [
            driver,
            *([self.lower] if lower and self.lower else []),
            *([self.upper] if upper and self.upper else []),
        ]


_BY_STATUS: Final = "workflows AS w INDEXED BY by_status"
_BY_CREATED: Final = "workflows AS w INDEXED BY by_created"
_BY_RUN_ID: Final = "workflows AS w INDEXED BY by_run_id"
_BY_LABEL: Final = "labels AS d CROSS JOIN workflows AS w ON w.workflow_id = d.workflow_id"
_COLUMN: Final = {OrderBy.CREATED_AT: "w.created", OrderBy.UPDATED_AT: "w.updated"}


def conditions(wanted: WorkflowFilter, *, ids: bool = True) -> list[Term]:
    """Return what a workflow `w` must fulfil: all of it, or all but what its id must.

    The plus signs keep SQLite from answering them by an index: which one it uses is the way's choice, and where it
    begins to read is the position's.
    """
    terms = _id_conditions(wanted, "+w.workflow_id") if ids else []
    if wanted.statuses:
        values = tuple(sorted(message.status_value(status) for status in wanted.statuses))
        terms.append(Term(f"+w.status IN ({', '.join('?' * len(values))})", values))
    if wanted.run_id:
        terms.append(Term("+w.run_id = ?", (wanted.run_id,)))
    for label in sorted(wanted.labels.items()):
        exists = "EXISTS (SELECT 1 FROM labels AS l WHERE l.key = ? AND l.value = ? AND l.workflow_id = w.workflow_id)"
        terms.append(Term(exists, label))
    terms += [term for term in _time_range("+w.created", wanted.created_after_ns, wanted.created_before_ns) if term]
    terms += [term for term in _time_range("+w.updated", wanted.updated_after_ns, wanted.updated_before_ns) if term]
    return terms


def malformed_conditions(wanted: WorkflowFilter) -> list[Term]:
    """Return what a malformed entry must fulfil: that its id has the prefix.

    One whose key stands for no id is left out only for those who may not know of everything.
    """
    terms = _id_conditions(wanted, "workflow_id")
    if wanted.within or not terms:
        return terms
    in_range = all_of(terms)
    return [Term(f"(workflow_id IS NULL OR {in_range.sql})", in_range.parameters)]


def all_of(terms: list[Term]) -> Term:
    """Return the condition that all of them hold."""
    return Term(
        " AND ".join(term.sql for term in terms) or "TRUE",
        tuple(parameter for term in terms for parameter in term.parameters),
    )


def way_of(connection: sqlite3.Connection, selection: Selection) -> Way:
    """Choose the way by which a List reads the fewest rows: a condition that leaves few, or a walk in its order."""
    wanted = selection.filter
    narrowest = _narrowest(connection, wanted)
    if narrowest is not None:
        return narrowest
    if selection.order_by is OrderBy.WORKFLOW_ID:
        if wanted.labels:
            return _label_ways(wanted)[0]
        return _run_way(wanted.run_id) if wanted.run_id else _id_way(wanted)
    return _created_way(wanted) if selection.order_by is OrderBy.CREATED_AT else _status_way(wanted)


def counting_way_of(connection: sqlite3.Connection, wanted: WorkflowFilter) -> Way:
    """Choose the way by which a Count reads the fewest rows. Without a condition it is that of the statuses."""
    narrowest = _narrowest(connection, wanted)
    if narrowest is not None:
        return narrowest
    if wanted.labels:
        return _label_ways(wanted)[0]
    if wanted.run_id:
        return _run_way(wanted.run_id)
    if wanted.workflow_id_prefix or wanted.within:
        return _id_way(wanted)
    in_time = wanted.created_after_ns is not None or wanted.created_before_ns is not None
    return _created_way(wanted) if in_time and not wanted.statuses else _status_way(wanted)


def page(way: Way, selection: Selection, after: tuple[bytes, str] | None, count: int, columns: str) -> Term:
    """Return the query for the next `count` workflows after a time and an id, in order, with these columns of `w`."""
    order = _COLUMN.get(selection.order_by)
    in_order = way.order_by is selection.order_by
    # The plus signs keep SQLite from walking another index to spare itself the sorting.
    ordered = [
        column if in_order else f"+{column}" for column in ((order, way.id_column) if order else (way.id_column,))
    ]
    direction = " DESC" if selection.descending else ""
    ordering = ", ".join(column + direction for column in ordered)
    rest = conditions(selection.filter, ids=not way.prefixes)
    resumed = after is not None and in_order
    drivers = way.drivers
    if after is not None and in_order and way.prefixes:
        drivers = _id_drivers_after(way.prefixes, after[-1], descending=selection.descending)
    elif after is not None:
        sign = "<" if selection.descending else ">"
        # A row value: written as two comparisons, SQLite would not seek to the place.
        rest.append(Term(f"({', '.join(ordered)}) {sign} ({', '.join('?' * len(ordered))})", after[-len(ordered) :]))

    def where_of(driver: Term) -> Term:
        # SQLite begins at one lower end only. The position is at or beyond that of the range, which `rest` has too.
        lower, upper = not (resumed and not selection.descending), not (resumed and selection.descending)
        return all_of([*way.where(driver, lower=lower, upper=upper), *rest])

    if len(drivers) == 1 and in_order:
        where = where_of(drivers[0])
        sql = f"SELECT {columns} FROM {way.source} WHERE {where.sql} ORDER BY {ordering} LIMIT {count}"
        return Term(sql, where.parameters)
    # What has to be sorted or merged is found by its place alone, and only the rows of this page are read whole.
    branches: list[str] = []
    parameters: list[Any] = []
    for driver in drivers:
        where = where_of(driver)
        keys = f"{order or 'NULL'} AS o, {way.id_column} AS i"
        branches.append(
            f"SELECT * FROM (SELECT {keys} FROM {way.source} WHERE {where.sql} ORDER BY {ordering} LIMIT {count})"
        )
        parameters += where.parameters
    outer = f"{'o' + direction + ', ' if order else ''}i{direction}"
    sql = f"""SELECT {columns} FROM (SELECT i FROM ({" UNION ALL ".join(branches)}) ORDER BY {outer} LIMIT {count}) AS p
        CROSS JOIN workflows AS w ON w.workflow_id = p.i"""
    return Term(sql, tuple(parameters))


def counted(way: Way, wanted: WorkflowFilter, group: str | None = None) -> Term:
    """Return the query for the number of workflows that match; apart by a column of `w` if one is given."""
    rest = conditions(wanted, ids=not way.prefixes)
    columns = f"{group}, count(*)" if group else "count(*)"
    grouping = f" GROUP BY {group}" if group else ""
    parts: list[str] = []
    parameters: list[Any] = []
    for driver in way.drivers:
        where = all_of([*way.where(driver), *rest])
        parts.append(f"SELECT {columns} FROM {way.source} WHERE {where.sql}{grouping}")
        parameters += where.parameters
    return Term(" UNION ALL ".join(parts), tuple(parameters))


def counted_by_label(way: Way, wanted: WorkflowFilter, key: str, groups_max: int) -> Term:
    """Return the query for the values of a label, the most frequent first: value, number, number of all groups, sum."""
    where = Term("s.key = ?", (key,))
    rest = conditions(wanted, ids=not way.prefixes)
    if rest or way.prefixes:
        # The ids that match are found once, and looked up for each label; the other way round reads a row for each.
        driven = [all_of([*way.where(driver), *rest]) for driver in way.drivers]
        ids = " UNION ALL ".join(f"SELECT w.workflow_id FROM {way.source} WHERE {term.sql}" for term in driven)
        matching = Term(f"s.workflow_id IN ({ids})", tuple(value for term in driven for value in term.parameters))
        where = all_of([where, matching])
    sql = f"""SELECT value, n, count(*) OVER (), sum(n) OVER () FROM (
            SELECT s.value AS value, count(*) AS n FROM labels AS s WHERE {where.sql} GROUP BY s.value
        ) ORDER BY n DESC, value LIMIT {groups_max}"""
    return Term(sql, where.parameters)


def _narrowest(connection: sqlite3.Connection, wanted: WorkflowFilter) -> Way | None:
    best, best_count = None, NARROW_MAX + 1
    for way in _narrowing_ways(wanted):
        left = 0
        for driver in way.drivers:
            where = all_of(way.where(driver))
            sql = f"SELECT count(*) FROM (SELECT 1 FROM {way.probe or way.source} WHERE {where.sql} LIMIT {best_count})"
            left += connection.execute(sql, where.parameters).fetchone()[0]
        if left < best_count:
            best, best_count = way, left
    return best


def _narrowing_ways(wanted: WorkflowFilter) -> list[Way]:
    ways = _label_ways(wanted)
    if wanted.run_id:
        ways.append(_run_way(wanted.run_id))
    if wanted.workflow_id_prefix or wanted.within:
        ways.append(_id_way(wanted))
    if wanted.statuses or wanted.updated_after_ns is not None or wanted.updated_before_ns is not None:
        ways.append(_status_way(wanted))
    if wanted.created_after_ns is not None or wanted.created_before_ns is not None:
        ways.append(_created_way(wanted))
    return ways


def _id_way(wanted: WorkflowFilter) -> Way:
    prefixes = _prefixes(wanted)
    if len(prefixes) > 1:
        drivers = tuple(all_of(_id_range(prefix, "w.workflow_id")) for prefix in prefixes)
        return Way("workflows AS w", OrderBy.WORKFLOW_ID, drivers, prefixes=prefixes)
    lower, upper, *_ = (*_id_range(prefixes[0], "w.workflow_id"), None, None)
    return Way("workflows AS w", OrderBy.WORKFLOW_ID, lower=lower, upper=upper)


def _label_ways(wanted: WorkflowFilter) -> list[Way]:
    return [
        Way(
            _BY_LABEL,
            OrderBy.WORKFLOW_ID,
            (Term("d.key = ? AND d.value = ?", label),),
            id_column="d.workflow_id",
            probe="labels AS d",
        )
        for label in sorted(wanted.labels.items())
    ]


def _run_way(run_id: str) -> Way:
    return Way(_BY_RUN_ID, OrderBy.WORKFLOW_ID, (Term("w.run_id = ? AND w.run_id <> ''", (run_id,)),))


def _created_way(wanted: WorkflowFilter) -> Way:
    lower, upper = _time_range("w.created", wanted.created_after_ns, wanted.created_before_ns)
    return Way(_BY_CREATED, OrderBy.CREATED_AT, lower=lower, upper=upper)


def _status_way(wanted: WorkflowFilter) -> Way:
    """Every workflow has one of five statuses, so this is also the way by time of update without one by status."""
    values = [message.status_value(status) for status in wanted.statuses] or _STATUSES
    lower, upper = _time_range("w.updated", wanted.updated_after_ns, wanted.updated_before_ns)
    drivers = tuple(Term("w.status = ?", (value,)) for value in sorted(values))
    return Way(_BY_STATUS, OrderBy.UPDATED_AT, drivers, lower, upper)


def _time_range(column: str, after_ns: int | None, before_ns: int | None) -> tuple[Term | None, Term | None]:
    return (
        None if after_ns is None else Term(f"{column} >= ?", (schema.time_bytes(after_ns),)),
        None if before_ns is None else Term(f"{column} < ?", (schema.time_bytes(before_ns),)),
    )


def _prefixes(wanted: WorkflowFilter) -> tuple[str, ...]:
    """Return the prefixes of which an id has one. What it is within has been narrowed to what is asked for."""
    return wanted.within or (wanted.workflow_id_prefix,)


def _id_conditions(wanted: WorkflowFilter, column: str) -> list[Term]:
    ranges = [_id_range(prefix, column) for prefix in _prefixes(wanted)]
    if len(ranges) == 1:
        return ranges[0]
    either = [all_of(terms) for terms in ranges]
    values = tuple(value for term in either for value in term.parameters)
    return [Term(f"({' OR '.join(term.sql for term in either)})", values)]


def _id_range(prefix: str, column: str) -> list[Term]:
    if not prefix:
        return []
    end = _successor(prefix)
    return [Term(f"{column} >= ?", (prefix,)), *([Term(f"{column} < ?", (end,))] if end is not None else [])]


def _id_drivers_after(prefixes: tuple[str, ...], id_: str, *, descending: bool) -> tuple[Term, ...]:
    """Return the ranges of ids that lie after one in order, the first of them cut off there.

    A range and a position beside it would be two lower ends, of which SQLite takes one: maybe the one far before.
    """
    drivers: list[Term] = []
    for prefix in prefixes:
        terms, end = _id_range(prefix, "w.workflow_id"), _successor(prefix)
        if (id_ <= prefix) if descending else (end is not None and id_ >= end):
            continue
        if descending and (end is None or id_ < end):
            terms = [terms[0], Term("w.workflow_id < ?", (id_,))]
        elif not descending and id_ >= prefix:
            terms = [Term("w.workflow_id > ?", (id_,)), *terms[1:]]
        drivers.append(all_of(terms))
    return tuple(drivers) or (Term("FALSE"),)


def _successor(prefix: str) -> str | None:
    """Return the first text after all that begin with `prefix`, None when there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[index])
        if point < _LAST:
            following = _SURROGATES_LAST + 1 if point + 1 == _SURROGATES_FIRST else point + 1
            return prefix[:index] + chr(following)
    return None
