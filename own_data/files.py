"""Any file with a table becomes a header and rows of text cells, whatever wrote it.

What the file is, is told by its first bytes, not by its name. Cells stay as they are written:
`007`, `1.0`, `NA` and `TRUE` are text. `Table.notes` says what was found out, and which lines
could not be read.
"""

import gzip
import io
import json
from datetime import datetime
from pathlib import Path

import pandas as pd
from charset_normalizer import from_bytes

from helpers.data import DataError, read_bytes
from own_data.separated import Table, listed, separated

MOST_BYTES = 2**29  # of an unpacked file
NAMED = (".gz", ".csv", ".tsv", ".txt", ".tab", ".jsonl", ".json", ".ndjson", ".xlsx", ".parquet")
REMEDY = "save the table as CSV in UTF-8"
FOREIGN = {  # the first bytes of what holds no table that is read here, and what to do
    b"PK\x03\x04": f"is a ZIP archive: unpack it, or {REMEDY}",
    b"\xd0\xcf\x11\xe0": f"is an old or a locked Excel file: save it as .xlsx, or {REMEDY}",
    b"%PDF": f"is a PDF: {REMEDY}",
    b"\x89PNG": "is a picture: a table of texts and labels is needed",
    b"\xff\xd8\xff": "is a picture: a table of texts and labels is needed",
    b"BZh": "is packed with bzip2: unpack it first",
    b"\xfd7zXZ": "is packed with xz: unpack it first",
    b"(\xb5/\xfd": "is packed with zstd: unpack it first",
    b"7z\xbc\xaf": "is packed with 7-Zip: unpack it first",
    b"SQLite format 3": f"is a database: {REMEDY}",
}
PAGES = ("<!doctype", "<html", "<?xml")
MARKED = {  # a byte order mark; the longer first
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# What spreadsheets write; of those that fit about as well, the first is taken.
ENCODINGS = ["cp1252", "cp932", "gb18030", "big5", "cp949", "cp1250", "cp1253", "cp1254", "cp1255"]
ENCODINGS += ["cp1251", "cp1256", "koi8_r", "mac_roman"]
FITS, COHERES = 0.05, 0.1  # how much worse than the best: its mess, its likeness to a language
MOST_LINES = 2000  # from which an encoding is told
SLIPS = 0.1  # share of the lines beyond ASCII that may be broken in a file in UTF-8


def read_file(path: str | Path, encoding: str | None = None) -> Table:
    """The header and the rows of a file: CSV in any dialect, JSON lines, Excel, Parquet, gzip.

    Its encoding is found out where it is not given. Raises `DataError`, one sentence, when it
    cannot be read or holds no table.
    """
    path = Path(path).expanduser()
    if any(letter in str(path) for letter in "\t\n\r\a\b\f\v") and not path.exists():
        raise DataError(
            f"{str(path)!r} does not exist: in Python, write a Windows path as r'C:\\…' or with /."
        )
    content, notes = _unpacked(path, read_bytes(path))
    if content.startswith(b"PK\x03\x04") and b"xl/workbook" in content:
        return _excel(path, content, notes)
    if content.startswith(b"PAR1"):
        return _parquet(path, content, notes)
    for start, what in FOREIGN.items():
        if content.startswith(start):
            raise DataError(f"{path} {what}.")
    text, more = decoded(path, content, encoding)
    notes += more
    if text.lstrip()[:20].lower().startswith(PAGES):
        raise DataError(f"{path} is a web page or XML: {REMEDY}.")
    table = _json_lines(path, text) if text.lstrip()[:1] in ("{", "[") else None
    table = table or separated(path, text)
    return table._replace(notes=notes + table.notes)


def bare_name(path: str | Path) -> str:
    """A file's name without folders and without the endings that say how it is written."""
    name = Path(path).name
    while Path(name).suffix.lower() in NAMED and Path(name).stem:
        name = Path(name).stem
    return name


def decoded(path: Path, content: bytes, encoding: str | None = None) -> tuple[str, list[str]]:
    """A file's text, with a note where it is not in UTF-8 and its encoding was found out.

    Raises `DataError` when it is no text, or not in the encoding that is given.
    """
    try:
        if encoding:
            return content.decode(encoding).removeprefix("\ufeff"), []
        marked = next((name for mark, name in MARKED.items() if content.startswith(mark)), None)
        if marked:
            return content.decode(marked), [f"Not in UTF-8: read as {marked}."]
        if not _wide(content):
            return content.decode("utf-8-sig"), []
    except LookupError as error:
        raise DataError(
            f"There is no encoding {encoding!r}; try utf-8, cp1252 or utf-16."
        ) from error
    except UnicodeError as error:
        if encoding or marked:
            raise DataError(f"{path} is not in {encoding or marked}: {REMEDY}.") from error
    return _guessed(path, content)


def _guessed(path: Path, content: bytes) -> tuple[str, list[str]]:
    """The text of a file without a mark that is not in UTF-8, at least not throughout."""
    if _wide(content):
        best = from_bytes(content, cp_isolation=["utf_16_le", "utf_16_be"]).best()
        if best is None:
            raise DataError(f"{path} is no text in any known encoding: {REMEDY}.")
        return str(best), [f"Not in UTF-8: read as {best.encoding}."]
    lines = {i: line for i, line in enumerate(content.split(b"\n"), 1) if not line.isascii()}
    slips = [i for i, line in lines.items() if "\ufffd" in line.decode("utf-8", "replace")]
    if len(slips) <= SLIPS * len(lines):
        told = "Not in UTF-8, though the rest is; letters that cannot be read show as \ufffd: "
        return content.decode("utf-8-sig", "replace"), [f"{told}{listed(slips, 'line')}."]
    some = list(lines.values())[:: 1 + len(lines) // MOST_LINES]
    taken = _likeliest(b"\n".join(some))
    if taken is None:
        raise DataError(f"{path} is no text in any known encoding: {REMEDY}.")
    return content.decode(taken, "replace"), [
        f"Not in UTF-8: read as {taken}. If letters look wrong, name another with --encoding."
    ]


def _wide(content: bytes) -> bool:
    """Whether letters take two bytes: then every second is zero in most languages' commonest."""
    return content[:4096].count(0) > len(content[:4096]) / 10


def _likeliest(lines: bytes) -> str | None:
    """The encoding that fits these lines best, all of which hold letters beyond ASCII.

    Lines of plain ASCII would only hide what tells encodings apart.
    """
    fits = [
        (match.chaos, match.coherence, name)
        for match in from_bytes(lines, cp_isolation=ENCODINGS)
        for name in match.could_be_from_charset
        if name in ENCODINGS
    ]
    clean = [fit for fit in fits if fit[0] <= min(fits)[0] + FITS]
    known = max((coherence for _, coherence, _ in clean), default=0) - COHERES
    names = [name for _, coherence, name in clean if coherence >= known]
    return min(names, key=ENCODINGS.index, default=None)


def _unpacked(path: Path, content: bytes) -> tuple[bytes, list[str]]:
    """What a gzip file holds; any other content as it is."""
    if not content.startswith(b"\x1f\x8b"):
        return content, []
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            content = packed.read(MOST_BYTES + 1)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} is a damaged gzip file: fetch or pack it again.") from error
    if len(content) > MOST_BYTES:
        raise DataError(f"{path} unpacks to more than {MOST_BYTES >> 20} MB: take fewer rows.")
    return content, ["A gzip file: unpacked."]


# Files that are no text


def _excel(path: Path, content: bytes, notes: list[str]) -> Table:
    def read() -> dict[str, pd.DataFrame]:
        options = {"sheet_name": None, "header": None, "dtype": object, "na_filter": False}
        return pd.read_excel(io.BytesIO(content), **options)

    sheets = _through_pandas(path, "an Excel file", "openpyxl", read)
    name, frame = next(((n, f) for n, f in sheets.items() if len(f)), ("", pd.DataFrame()))
    others = [other for other in sheets if other != name]
    notes = [*notes, f"An Excel file, sheet {name!r}: cells as they are stored, not as shown."]
    if others:
        notes.append(f"Not used: the other sheets, {', '.join(map(repr, others))}.")
    header, *rows = [[_cell(cell) for cell in row] for row in frame.to_numpy()] or [[]]
    return Table(header, [(i, row) for i, row in enumerate(rows, 2) if any(row)], notes)


def _parquet(path: Path, content: bytes, notes: list[str]) -> Table:
    def read() -> pd.DataFrame:
        return pd.read_parquet(
            io.BytesIO(content), dtype_backend="pyarrow"
        )  # keeps 1 apart from 1.0

    frame = _through_pandas(path, "a Parquet file", "pyarrow", read)
    rows = zip(*([_cell(cell) for cell in frame[name]] for name in frame), strict=True)
    return Table(list(map(str, frame)), [(i, list(row)) for i, row in enumerate(rows, 2)], notes)


def _through_pandas(path: Path, what: str, package: str, read):
    """What `read` returns; one sentence where a package is missing or the file is damaged."""
    try:
        return read()
    except ImportError as error:
        raise DataError(
            f"{path} is {what}, which needs the package {package} (python -m pip install "
            f"{package}); or {REMEDY}."
        ) from error
    except Exception as error:  # readers raise anything on damaged files
        raise DataError(f"{path} is {what} that cannot be read: {REMEDY}.") from error


def _cell(value, spelled=str.upper) -> str:
    """A value of another format as it would be written in a CSV file; `spelled` for true, false."""
    if isinstance(value, list | tuple) or (hasattr(value, "tolist") and getattr(value, "ndim", 0)):
        return ";".join(_cell(part, spelled) for part in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if value is None or value is pd.NA or value != value:  # NaN and NaT differ from themselves
        return ""
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return spelled(str(value))
    if isinstance(value, datetime):
        return str(value).removesuffix(" 00:00:00")
    return str(value)


def _json_lines(path: Path, text: str) -> Table | None:
    """A file of one JSON object a line, or of one list of them; None where it is neither.

    Numbers stay as they are written.
    """
    exact = {"parse_float": str, "parse_int": str, "parse_constant": str}
    found, lost = [], []
    try:
        whole = json.loads(text, **exact) if text.lstrip().startswith("[") else None
    except ValueError:
        return None
    if whole is not None:
        found = [(i, item) for i, item in enumerate(whole, 1) if isinstance(item, dict)]
        lost = [i for i, item in enumerate(whole, 1) if not isinstance(item, dict)]
    else:
        for number, line in enumerate(text.split("\n"), 1):
            try:
                item = json.loads(line, **exact) if line.strip() else None
            except ValueError:
                item = ""
            if isinstance(item, dict):
                found.append((number, item))
            elif item is not None:
                lost.append(number)
    if not found and "json" in path.suffix.lower():
        raise DataError(f"{path} holds no JSON objects, one a line, nor a list of them.")
    if not found:
        return None
    header = list(dict.fromkeys(name for _, item in found for name in item))
    rows = [(i, [_cell(item.get(name), str.lower) for name in header]) for i, item in found]
    notes = [f"Lost, because it is no JSON object: {listed(lost, 'line')}."] if lost else []
    return Table(header, rows, notes)
