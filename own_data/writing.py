"""CSV files that a spreadsheet opens without running anything."""

import re

import pandas as pd

# What makes a spreadsheet read a cell as a formula; it skips spaces, and takes wide forms too.
FORMULA = re.compile(r"\s*[=+\-@\t\r＝＋－＠]")
NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d+)?|[.,]\d+)([eE][-+]?\d+)?\s*%?\s*")


def defused(cell):
    """A cell that begins like a formula, with an apostrophe in front; numbers stay numbers."""
    if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def spreadsheet_csv(table: pd.DataFrame, index: bool = True) -> str:
    """A table as CSV text, every cell and name that begins like a formula defused."""
    plain = table.reset_index() if index else table
    plain = plain.map(defused).rename(columns=defused)
    return plain.to_csv(index=False, lineterminator="\n")
