"""Files as people have them: each is read as it is meant, or one sentence says what is wrong."""

import csv
import gzip
import io
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from helpers.data import DataError
from own_data import __main__ as command_line
from own_data import files, read_own
from own_data.files import bare_name, read_file
from own_data.reading import shorten
from own_data.separated import separated
from own_data.writing import defused, spreadsheet_csv

CASES = Path(__file__).parent / "cases"
FOUR = ["account", "billing", "delivery", "returns"]
CONTROL = dict.fromkeys(FOUR, 60)
FIFTY = dict.fromkeys(FOUR, 50)
CP1252 = "Not in UTF-8: read as cp1252. If letters look wrong, name another with --encoding."
PENDING = ["card_payment", "card_payment_fee", "card_payment_refund", "cash_payment"]
# What is right for each file: the usable rows of each label and the notes, or one sentence.
RIGHT = {
    "chinese.csv": (dict.fromkeys(["物流", "账单", "退货"], 60), []),
    "code_labels.csv": (dict.fromkeys(["007", "07", "3.1", "3.10"], 50), []),
    "continuous_target.csv": "holds 120 different numbers in 120 rows, and a measured number is no",
    "control.csv": (CONTROL, []),
    "cp1252.csv": (CONTROL, [CP1252]),
    "duplicates_conflicts.csv": (
        dict.fromkeys(FOUR, 18),
        [
            "Left out, because the same text stands above: rows 19, 25, 27, 38, 47, 51, 52, 56, "
            "62, 65 and 72 more.",
            "Left out, because one text has several labels: rows 2, 5, 8, 13, 16, 18, 22, 23, 31, "
            "32 and 47 more.",
        ],
    ),
    "gzip_named.csv": (CONTROL, ["A gzip file: unpacked."]),
    "index_split_dupheader.csv": (
        FIFTY,
        [
            "Several columns are named 'text': the first of them is used.",
            "Not used: column 1, split, column 5, text, Label; questions are drawn from all "
            "rows, unless --split names a column.",
        ],
    ),
    "label_length.csv": (
        dict.fromkeys(
            ["maybe", "no", "yes", "requires a follow-up visit by the regional repair team"], 50
        ),
        [],
    ),
    "labels_300.csv": "of 300 labels the most frequent, 'kettle_lost', has 3: add labelled rows",
    "labels_named_missing.csv": (
        {"NA": 49, "None": 50, "nan": 49, "null": 49},
        ["Left out, because text or label is missing: rows 5, 79, 152."],
    ),
    "long_field.csv": (dict.fromkeys(FOUR, 30), []),
    "only_short_tokens.csv": (
        {"even": 26, "odd": 25},
        [
            "Left out, because the same text stands above: rows 17, 32, 33, 34, 44, 46, 49, 50, "
            "58, 59 and 5 more.",
            "Left out, because one text has several labels: rows 3, 7, 10, 19, 21, 29, 30, 37, 40, "
            "54 and 4 more.",
        ],
    ),
    "prefix_labels.csv": ({f"pending_{name}": 50 for name in PENDING}, []),
    "random_labels.csv": ({"blue": 93, "green": 85, "grey": 103, "red": 119}, []),
    "rare_labels.csv": (
        {"ordinary": 285, "urgent": 12},
        ["Left out, 3 rows of labels with fewer than 4 rows: 'animal', 'odd', 'weather'."],
    ),
    "semicolon_cp1252.csv": (CONTROL, [CP1252]),
    "sep_line.csv": (CONTROL, []),
    "stray_quotes_tab.csv": (
        FIFTY,
        ["Quotation marks not closed, so read as letters: lines 22, 62, 102, 142."],
    ),
    "utf16_tab.csv": (CONTROL, ["Not in UTF-8: read as utf-16."]),
    "xlsx_named.csv": "is an Excel file",
}
NAMED = {
    "chinese.csv": ("评论", "类别"),
    "code_labels.csv": ("note", "code"),
    "continuous_target.csv": ("text", "score"),
}
AS_CONTROL = [name for name, right in RIGHT.items() if right[0] == CONTROL]


def case(name):
    return read_own(CASES / name, *NAMED.get(name, ("text", "label")))


def all_rows(own):
    return own.rows


def test_every_case_ends_as_is_right_for_it():
    assert {path.name for path in CASES.iterdir()} == set(RIGHT)
    for name, right in RIGHT.items():
        if isinstance(right, str):
            with pytest.raises(DataError) as told:
                case(name)
            assert right in str(told.value) and str(told.value).count("\n") == 0, name
            continue
        counts, notes = right
        own = case(name)
        assert dict(Counter(e.label for e in all_rows(own))) == counts, name
        assert own.notes == notes, name
        assert read_own(CASES / name) == own, f"{name}, with its columns found out"


def test_the_same_rows_are_the_same_task_in_whatever_bytes():
    control = case("control.csv")
    assert "café" in " ".join(row.text for row in control.rows)
    assert len(AS_CONTROL) == 6
    for name in AS_CONTROL:
        own = case(name)
        assert [row[1:] for row in own.rows] == [row[1:] for row in control.rows], name
        assert own.part == control.part and own.columns == control.columns, name


def test_a_long_cell_is_whole_and_the_setting_of_the_program_is_as_before():
    before = csv.field_size_limit()
    assert max(len(e.text) for e in all_rows(case("long_field.csv"))) > 200_000
    assert csv.field_size_limit() == before


# Dialects and encodings


@pytest.fixture
def file(tmp_path):
    def write(content, name="mine.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def labelled(texts, labels=("late", "broken"), each=5):
    """CSV lines of some texts, and of plain ones for each label."""
    plain = [f"plain text {i} of {label},{label}" for label in labels for i in range(each)]
    return "\n".join(["text,label", *texts, *plain, ""])


CELLS = [["text", "label"], ['two\nlines; "said", a|b\tc', "é 1"], ["5 inch", "007"], ["", "NA"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("said", [False, True])
def test_every_dialect_gives_the_same_cells(file, encoding, separator, newline, said):
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=newline).writerows(CELLS)
    first = f"sep={separator}{newline}" if said else ""
    header, rows, notes = read_file(file(first + text.getvalue(), encoding=encoding))
    assert [header, *(cells for _, cells in rows)] == CELLS
    assert [number for number, _ in rows] == [2, 3, 4]
    assert bool(notes) == (not encoding.startswith("utf-8"))


WRITINGS = {
    "cp1252": ["Où est ma commande, réglée à Genève ?", "Le colis était abîmé", "Très déçu"],
    "mac_roman": ["Où est ma commande, réglée à Genève ?", "Le colis était abîmé", "Très déçu"],
    "cp1250": [
        "Zapłaciłem w środę",
        "Proszę o zwrot pieniędzy",
        "Książka źle działa, żądam",
    ],
    "cp1251": ["Где мой заказ? Я оплатил в среду", "Прошу вернуть деньги", "Коробка повреждена"],
    "koi8_r": ["Где мой заказ? Я оплатил в среду", "Прошу вернуть деньги", "Коробка повреждена"],
    "cp1253": ["Πού είναι η παραγγελία μου", "Πλήρωσα την Τετάρτη", "Παρακαλώ επιστροφή χρημάτων"],
    "cp1255": ["איפה ההזמנה שלי? שילמתי ביום רביעי", "אנא החזר כספי"],
    "cp932": [
        "注文はどこですか。水曜日に支払いました",
        "返金をお願いします",
        "箱が壊れて届きました",
    ],
    "gb18030": ["我的订单在哪里？我星期三付了款", "请退款", "箱子到的时候坏了"],
    "cp949": ["주문은 어디에 있습니까? 수요일에 결제했습니다", "환불 부탁드립니다"],
}


@pytest.mark.parametrize(("encoding", "texts"), WRITINGS.items(), ids=WRITINGS)
def test_an_encoding_is_told_by_its_letters_even_where_they_are_few(file, encoding, texts):
    rows = [f'"{text}",late' for text in texts]
    table = read_file(file(labelled(rows, each=100), encoding=encoding))
    assert [cells[0] for _, cells in table.rows[: len(texts)]] == texts
    assert f"read as {encoding}." in table.notes[0]


def test_an_encoding_may_be_named(file):
    path = file(labelled(["Şık değil,late"]), encoding="cp1254")
    assert read_file(path, "cp1254").rows[0][1][0] == "Şık değil"
    with pytest.raises(DataError, match=r"There is no encoding 'cp99'; try utf-8, cp1252"):
        read_file(path, "cp99")
    with pytest.raises(DataError, match=r"is not in utf-8: save the table"):
        read_file(path, "utf-8")


def test_a_few_broken_letters_do_not_garble_the_others(file):
    fine = [f"déjà vu {i},late" for i in range(20)]
    content = labelled([*fine, "caf?,late"]).encode().replace(b"caf?", b"caf\xe9")
    table = read_file(file(content))
    assert table.rows[0][1] == ["déjà vu 0", "late"] and table.rows[20][1][0] == "caf\ufffd"
    assert table.notes[0].endswith("show as \ufffd: line 22.")


# Quotation marks


def test_stray_quotation_marks_cost_no_other_line():
    lines = [
        "text,label",
        '"never closed,late',
        'a 5" hose,late',
        "plain,broken",
        'a pipe of 12",broken',  # well-formed together with the second line, but four rows
        '"a, ""said"" b",late',
        '"open, and, too many,late',
        "last,broken",
    ]
    header, rows, notes = separated(Path("x.csv"), "\n".join(lines))
    assert header == ["text", "label"]
    assert [cells for _, cells in rows] == [
        ['"never closed', "late"],
        ['a 5" hose', "late"],
        ["plain", "broken"],
        ['a pipe of 12"', "broken"],
        ['a, "said" b', "late"],
        ["last", "broken"],
    ]
    assert notes == [
        "Quotation marks not closed, so read as letters: line 2.",
        "Lost, because quotation marks are not closed: line 7.",
    ]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('text\tlabel\na\tlate\n"one\tlate\ntwo\tlate\n" three\tlate\nb\tlate\n', '"one'),
        ('label,text\nlate,a\nlate,"Dear all\nBest, Anna"\n', "Dear all\nBest, Anna"),
        ('text,label\na,late\n"Hi, all\nBest, Anna",late\n', "Hi, all\nBest, Anna"),
    ],
    ids=["rows between two marks", "a letter behind", "a letter in front"],
)
def test_rows_between_two_stray_marks_are_told_from_a_text_of_several_lines(text, cell):
    table = separated(Path("x.csv"), text)
    assert cell in [cell for _, cells in table.rows for cell in cells]
    assert bool(table.notes) == cell.startswith('"')


def test_a_mark_without_an_end_is_not_looked_for_in_the_whole_file():
    lines = ["text,label", *(f'"open {i},late' for i in range(3000)), "x,late"]
    table = separated(Path("x.csv"), "\n".join(lines))
    assert len(table.rows) == 3001 and table.notes[0].endswith("10, 11 and 2990 more.")


# Other formats


def test_gzip_is_unpacked_and_damage_is_said(file, monkeypatch):
    packed = gzip.compress(labelled([]).encode())
    own = read_own(file(packed, "my mail.csv.gz"))
    assert own.task.name == "my mail" and own.notes == ["A gzip file: unpacked."]
    with pytest.raises(DataError, match="is a damaged gzip file"):
        read_own(file(packed[:-9]))
    monkeypatch.setattr(files, "MOST_BYTES", 100)
    with pytest.raises(DataError, match="unpacks to more than"):
        read_own(file(packed))


def test_json_lines_keep_numbers_as_they_are_written(file):
    lines = ['{"text": "a\u2028b", "label": 1.0}', "", '{"label": null, "text": "c", "more": true}']
    lines += ["{broken", "7", '{"text": "d", "label": ["x", "y"]}', '{"text": "e", "label": 0.10}']
    header, rows, notes = read_file(file("\n".join(lines), "x.jsonl"))
    assert header == ["text", "label", "more"]
    assert [number for number, _ in rows] == [1, 3, 6, 7]
    assert [cells[1:] for _, cells in rows] == [
        ["1.0", ""],
        ["", "true"],
        ["x;y", ""],
        ["0.10", ""],
    ]
    assert notes == ["Lost, because it is no JSON object: lines 4, 5."]
    listed = read_file(file('[{"text": "a", "label": 7}, 3]', "x.json"))
    assert listed.rows == [(1, ["a", "7"])] and listed.notes[0].endswith("line 2.")
    assert read_file(file("[text],[label]\na,b\n")).header == ["[text]", "[label]"]
    with pytest.raises(DataError, match="holds no JSON objects"):
        read_file(file("{\n1", "x.jsonl"))


EXCEL = b"PK\x03\x04 xl/workbook.xml"
SHEET = [["text", "label"], ["a", "007"], ["b", True], ["", ""], ["c", pd.Timestamp("2024-01-05")]]
READERS = {
    "read_excel": (EXCEL, "an Excel file", "openpyxl"),
    "read_parquet": (b"PAR1", "a Parquet file", "pyarrow"),
}


def test_a_spreadsheet_is_read_as_text(file, monkeypatch):
    sheets = {"empty": pd.DataFrame(), "Mail": pd.DataFrame(SHEET, dtype=object)}
    monkeypatch.setattr(pd, "read_excel", lambda *_, **__: sheets)
    table = read_file(file(EXCEL, "x.xlsx"))
    assert table.header == ["text", "label"]
    assert table.rows == [(2, ["a", "007"]), (3, ["b", "TRUE"]), (5, ["c", "2024-01-05"])]
    assert table.notes == [
        "An Excel file, sheet 'Mail': cells as they are stored, not as shown.",
        "Not used: the other sheets, 'empty'.",
    ]


def test_a_parquet_file_is_read_as_text(file, monkeypatch):
    frame = pd.DataFrame({"text": ["a", "b"], "label": pd.array([7, None], "Int64")})
    monkeypatch.setattr(pd, "read_parquet", lambda *_, **__: frame)
    assert read_file(file(b"PAR1")) == (["text", "label"], [(2, ["a", "7"]), (3, ["b", ""])], [])


@pytest.mark.parametrize("reader", READERS)
def test_a_missing_reader_is_named_and_a_damaged_file_said(file, monkeypatch, reader):
    content, what, package = READERS[reader]
    for error, told in (
        (ImportError("x"), f"is {what}, which needs the package {package} \\(python -m pip"),
        (KeyError("x"), f"is {what} that cannot be read: save the table as CSV in UTF-8"),
    ):

        def fails(*_, error=error, **__):
            raise error

        monkeypatch.setattr(pd, reader, fails)
        with pytest.raises(DataError, match=told):
            read_file(file(content))


@pytest.mark.parametrize("written", ["to_excel", "to_parquet"])
def test_the_real_readers_where_they_are_installed(tmp_path, written):
    pytest.importorskip({"to_excel": "openpyxl", "to_parquet": "pyarrow"}[written])
    path = tmp_path / ("x.xlsx" if written == "to_excel" else "x.parquet")
    table = pd.DataFrame({"text": list("abcd"), "label": ["007", "NA", "1.0", ""]})
    getattr(table, written)(path, index=False)
    assert [cells[1] for _, cells in read_file(path).rows] == ["007", "NA", "1.0", ""]


@pytest.mark.parametrize("start", [*files.FOREIGN, *(page.encode() for page in files.PAGES)])
def test_what_holds_no_table_is_called_by_its_name(file, start):
    with pytest.raises(DataError, match=r"mine\.csv is (a|an|packed) [^\n]+\.$"):
        read_own(file(start + b" and more\n" * 20))


# Labels


LABELS = ["NA", "None", "null", "007", "1.0", "TRUE", "2024-01-05", "1e5", "nan", "-", "0"]


def test_labels_stay_text(file):
    own = read_own(file(labelled([], LABELS)))
    assert own.task.labels == tuple(sorted(LABELS)) and not own.notes
    assert own.task.words == {label: label for label in LABELS} | {"None": "none"}


def test_labels_that_only_look_different_are_one(file):
    other = [
        "x1,LATE",
        "x2,late ",
        "x3,late\u200b",
        "x4,\uff4cate",
        "x5,cafe\u0301",
        "x6,late  bus",
    ]
    own = read_own(file(labelled([*other, "x7,1"], ["late", "café", "late bus", "1", "1.0", "01"])))
    assert own.task.labels == ("01", "1", "1.0", "café", "late", "late bus")
    assert own.notes == [
        "Taken as one label, 'late': 'LATE', 'late ', 'late\\u200b', '\uff4cate' (capitals and "
        "spaces and Unicode forms differ).",
        "Taken as one label, 'café': 'cafe\u0301' (Unicode forms differ).",
        "Taken as one label, 'late bus': 'late  bus' (spaces differ).",
    ]


def test_joined_labels_are_said(file):
    own = read_own(file(labelled([], ["late", "broken", "late;broken", "new; odd"])))
    assert own.notes == [
        "Labels that look like several joined by ';' are taken as one each, 1 in all: "
        "'late;broken'."
    ]
    assert not read_own(file(labelled([], ["sci.space", "sci.med", "a/b", "a/c"]))).notes


def test_labels_that_are_measured_or_names_of_cases(file):
    ages = [str(age) for age in range(20, 50)]
    (note,) = read_own(file(labelled([], ages))).notes
    assert note.startswith("The labels are 30 different numbers; if they were measured")
    assert not read_own(file(labelled([], ["1", "2", "3", "4", "5"]))).notes
    with pytest.raises(DataError, match="30 different numbers in 30 rows, and a measured number"):
        read_own(file(labelled([], ages, each=1)))
    with pytest.raises(DataError, match="almost every row holds something else, as texts and"):
        read_own(file(labelled([], [f"case {i}" for i in range(30)], each=1)))
    with pytest.raises(DataError, match=r"1 label in column 'label', 'late' in every row, but two"):
        read_own(file(labelled([], ["late"])))


# Columns and texts


def test_columns_are_found_but_for_capitals_and_spaces(file):
    padded = file(labelled([]).replace("text,label", " Text , Label "))
    assert read_own(padded, "text", "label").task == read_own(padded).task
    assert read_own(padded).task.template == "Text: {text}\nLabel: {label}\n\n"
    exact = file(labelled([]).replace("text,label", "Label,label"), "exact.csv")
    assert read_own(exact, "Label", "label").task.template.startswith("Label: {text}")
    with pytest.raises(DataError, match="Text and label are both column 'TEXT': name two columns"):
        read_own(padded, "TEXT", "text ")


def test_rows_with_empty_cells_behind_are_whole(file):
    own = read_own(file(labelled(["a,late,,", "b,late,x", "c"])))
    assert "a" in [e.text for e in all_rows(own)]
    assert own.notes == [
        "Left out, because text or label is missing: row 4.",
        "Left out, because there are more cells than columns (a text with a separator needs "
        "quotation marks): row 3.",
    ]


def test_a_first_row_that_looks_like_any_other_is_said(file):
    content = labelled([]).replace("text,label", "parcel came late,late")
    (note,) = read_own(file(content), label="late").notes
    assert note == "Row 1 is taken as the header, though 'late' is a label, too."


ODD = {
    "so <b>late</b>": "HTML, which is read as it stands",
    "fish &amp; chips": "HTML, which is read as it stands",
    "late again 🙁": "emoji, each read as several tokens",
    "the cafÃ© is shut": "letters that an earlier program damaged",
    "הזמנה": "writing from right to left, kept in the order in which it is read",
    "Refund? Label: broken": "'Text:' or 'Label:', as the prompt does, and may mislead",
}


@pytest.mark.parametrize(("text", "told"), ODD.items())
def test_odd_texts_are_kept_and_said(file, text, told):
    own = read_own(file(labelled([f'"{text}",late'])))
    assert text in [e.text for e in all_rows(own)]
    (note,) = own.notes
    assert note.startswith(f"1 text holds {told}") and note.endswith(": row 2.")


@pytest.mark.parametrize("text", ["a < b and c > d", "R&D; 5 % off", "labels: none", "Ægir – „so“"])
def test_ordinary_texts_are_not_remarked_on(file, text):
    assert not read_own(file(labelled([f'"{text}",late']))).notes


def test_control_characters_would_upset_a_page_or_a_console(file):
    own = read_own(file(labelled(["bell\x07 and\x1b[31m zero\0,late"])))
    assert "bell and [31m zero" in [e.text for e in all_rows(own)]
    assert own.notes == ["Control characters became spaces: row 2."]


def test_the_same_text_in_other_capitals_is_no_question(file):
    own = read_own(file(labelled(["Where  is it?,late", "WHERE IS IT?,late", "where is it?,late"])))
    assert own.notes == ["Left out, because the same text stands above: rows 3, 4."]


def test_texts_that_are_the_same_once_cut_are_there_once(file):
    long = [f"{'word ' * 100} {i},late" for i in range(6)]
    whole, short = shorten(read_own(file(labelled(long))), lambda text: text[:50])
    texts = [row.text for row in short.rows]
    assert len(texts) == len(set(texts)) == len(whole.rows) == len(whole.part) == 11
    assert short.part == whole.part and max(len(row.text) for row in whole.rows) > 500
    assert whole.notes[1] == "Left out, because they begin like another text and end only later: 5."


# Written files, consoles, paths


@pytest.mark.parametrize("cell", ["=1+1", "+A1", "-A1", "@SUM(A1)", " =1", "\t=1", "＝1+1", "-2+3"])
def test_a_cell_that_begins_like_a_formula_is_defused(cell):
    table = pd.DataFrame({cell: [cell, "plain"]}, index=pd.Index([cell, "x"], name="way"))
    written = list(csv.reader(io.StringIO(spreadsheet_csv(table))))
    assert written == [["way", f"'{cell}"], [f"'{cell}", f"'{cell}"], ["x", "plain"]]


@pytest.mark.parametrize("cell", ["-0.5", "+3", "-1,5 %", "-1e-5", 7, -0.5, None, "a=b", ""])
def test_numbers_and_plain_cells_stay(cell):
    assert defused(cell) is cell


def narrow(monkeypatch, stream):
    """A console that knows the letters of Western Europe only; returns what it was told."""
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", write_through=True)
    monkeypatch.setattr(f"sys.{stream}", console)
    return lambda: console.buffer.getvalue().decode("cp1252")


def test_a_console_that_lacks_letters_shows_codes_instead_of_ending(file, monkeypatch):
    errors, said = narrow(monkeypatch, "stderr"), narrow(monkeypatch, "stdout")
    assert command_line.main([str(file("评论,类别\n", "未.csv"))]) == 2
    assert "\\u672a.csv holds no rows" in errors()
    monkeypatch.setattr(command_line, "run", lambda work, out: print(f"Stored in {out}.") or 0)
    path = file(labelled(["é,迟 ", "è,迟"], ["迟", "坏"]))
    assert command_line.main([str(path), "--out", "退货"]) == 0
    assert "'\\u8fdf '" in said() and "Stored in \\u9000\\u8d27." in said()


def test_a_command_is_told_as_each_platform_types_it():
    words = ["python", "-m", "own_data", r"C:\My data\mail.csv"]
    assert command_line.as_typed(words, windows=True).endswith(r' "C:\My data\mail.csv"')
    assert command_line.as_typed(words, windows=False).endswith(r" 'C:\My data\mail.csv'")


def test_a_windows_path_whose_backslashes_python_took_is_explained():
    with pytest.raises(DataError, match=r"write a Windows path as r'C:") as told:
        read_own("C:\temp\new.csv")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "bare"),
    [("my.mail.csv.gz", "my.mail"), ("A B.XLSX", "A B"), (".csv", ".csv"), ("v1.2", "v1.2")],
)
def test_a_task_is_named_after_its_file(name, bare):
    assert bare_name(f"some folder/{name}") == bare
