"""Text in columns, whatever separates them: the separator, the quotation marks, the lost lines.

A quotation mark that is not closed costs its own line its quoting, never the lines below it.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from helpers.data import DataError

SEPARATORS, LOOKED_AT = ",;\t|", 100  # and from how many rows the separator is told
LONGEST = 1000  # lines of one row: beyond, a quotation mark was not closed
LONGEST_CELL = 2**31 - 1  # characters; the most that every platform takes
SAID = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)  # a first line that Excel reads and hides


class Table(NamedTuple):
    """The header, the rows with their numbers, and what was found out, a sentence each.

    A number is that of a spreadsheet, whose header is row 1; of JSON, that of the line.
    """

    header: list[str]
    rows: list[tuple[int, list[str]]]
    notes: list[str]


class Record(NamedTuple):
    """One row: the line on which it begins, how many it takes, its cells; whether read bare."""

    line: int
    length: int
    cells: list[str]
    bare: bool = False


def separated(path: Path, text: str) -> Table:
    """The table in a text of separated columns.

    Lines whose quotation marks are not closed or doubled are read bare, with the marks as letters,
    where that gives the header's columns; else they are lost. A note names both.
    """
    lines = list(io.StringIO(text, newline=""))  # ends at \\n, \\r and \\r\\n, and nowhere else
    said = SAID.fullmatch(lines[0]) if lines else None
    above = 1 if said else 0
    separator = said[1] if said else separator_of(text)
    with _long_cells():
        records = _swallowed(list(_records(lines, above, separator)), lines, separator)
    if not records:
        raise DataError(f"{path} is empty: add a header and labelled rows.")
    header, rows = records[0].cells, list(enumerate(records[1:], 2))
    bare = [r.line for _, r in rows if r.bare and len(r.cells) == len(header)]
    lost = [r.line for _, r in rows if r.bare and len(r.cells) != len(header)]
    notes = []
    if bare:
        notes.append(f"Quotation marks not closed, so read as letters: {listed(bare, 'line')}.")
    if lost:
        notes.append(f"Lost, because quotation marks are not closed: {listed(lost, 'line')}.")
    kept = [(i, r.cells) for i, r in rows if r.line not in set(lost) and any(r.cells)]
    return Table(header, kept, notes)


def separator_of(text: str) -> str:
    """The separator of a CSV text: the one by which most rows have the header's columns.

    Where several do, the one that makes more columns.
    """

    def fits(separator: str) -> tuple[float, int]:
        lines = islice(io.StringIO(text, newline=""), 10 * LOOKED_AT)
        rows = list(islice(_cells(lines, separator), LOOKED_AT))
        columns = len(rows[0]) if rows else 0
        same = sum(len(row) == columns for row in rows) if columns > 1 else 0
        return same / max(1, len(rows)), columns

    with _long_cells():
        return max(SEPARATORS, key=fits)


def listed(numbers: Sequence[int], thing: str = "row", most: int = 10) -> str:
    """Numbers of rows or lines in words: the first few, and how many more."""
    shown = ", ".join(map(str, numbers[:most]))
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return f"{thing if len(numbers) == 1 else thing + 's'} {shown}{more}"


def _cells(lines, separator: str, quoting: int = csv.QUOTE_MINIMAL, strict: bool = False):
    """The library's reader; a space behind a separator is no part of a cell."""
    return csv.reader(
        lines, delimiter=separator, quoting=quoting, strict=strict, skipinitialspace=True
    )


def _alone(line: str, separator: str) -> tuple[list[str], bool]:
    """A line's cells where it is a whole row; else with quotation marks as letters, and True."""
    try:
        return next(_cells([line], separator, strict=True), []), False
    except csv.Error:
        return next(_cells([line], separator, csv.QUOTE_NONE), []), True


def _records(lines: Sequence[str], start: int, separator: str) -> Iterator[Record]:
    """The rows from line `start` on; a line that cannot be read is bare, and reading goes on."""
    while start < len(lines):
        ahead = range(start, min(start + LONGEST, len(lines)))
        reader = _cells(map(lines.__getitem__, ahead), separator, strict=True)
        try:
            cells = next(reader, [])
            record = Record(start + 1, reader.line_num, cells)
        except csv.Error:
            record = Record(start + 1, 1, *_alone(lines[start], separator))
        yield record
        start += record.length


def _swallowed(records: list[Record], lines: Sequence[str], separator: str) -> list[Record]:
    """The rows, where those between two stray quotation marks are set free again.

    A row of several lines is taken apart when every line is a whole row by itself, and in some
    column all of them hold what comes back in other rows, as labels do.
    """
    columns = len(records[0].cells) if records else 0
    single = [record.cells for record in records if len(record.cells) == columns]
    known = [{cells[i] for cells in single if cells[i]} for i in range(columns)]
    free = []
    for record in records:
        first, length = record.line - 1, record.length
        several = lines[first : first + length] if length > 1 else []
        apart = [_alone(line, separator) for line in several]
        whole = bool(apart) and all(len(cells) == columns for cells, _ in apart)
        if whole and any(
            all(row[i].strip('"') in known[i] for row, _ in apart) for i in range(columns)
        ):
            free += [Record(record.line + i, 1, *parsed) for i, parsed in enumerate(apart)]
        else:
            free.append(record)
    return free


@contextmanager
def _long_cells():
    """Let cells be longer than the csv module's 128 KB, which is a setting of the whole program."""
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)
