"""Bring the stored results of the first edition into the one form that `helpers.compare` describes.

`python -m tools.convert_results` does it once. Each file is converted, converted back and compared
with what was there, cell by cell as text, so no number can have moved.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).resolve().parent.parent / "data" / "results"
YES_NO, BITS = str.maketrans("ny", "01"), str.maketrans("01", "ny")
SINGLE = {  # what is renamed, and what is the same in all rows
    "reviews": ({"method": "way", "accuracy": "value", "from": "taught_by"}, {}),
    "labels": ({"method": "way", "accuracy": "value", "taught": "taught_by"}, {}),
    "codes": ({"method": "way", "accuracy": "value"}, {}),
    "facts": ({"method": "way", "accuracy": "value", "answered": "measure"}, {}),
    "faults": ({"method": "readout", "accuracy": "value"}, {"way": "in-context"}),
    "ablation": ({"ablated": "way", "what": "measure"}, {}),
    "vectors": ({"vector": "way"}, {"measure": "first token"}),
    "clinic": ({"training": "way", "share": "value"}, {}),
    "distilled": ({"share": "value"}, {"way": "distilled"}),
    "lens": ({"value": "log_probability"}, {"way": "in-context", "measure": "first place"}),
    "replies": ({"method": "way"}, {"measure": "checks"}),
    "costs": ({}, {}),
}
SINGLE |= dict.fromkeys(("support_tickets", "verbs", "verbs_long"), SINGLE["reviews"])
SINGLE |= {"luck": SINGLE["labels"], "length": SINGLE["faults"], "costs_prefill": SINGLE["costs"]}
renamed = SINGLE["faults"][0] | {"shown": "labels_shown"}
SINGLE["orders"] = (renamed, SINGLE["faults"][1])
LEADING = ("measure", "right", "value")


def share(bits: str) -> str:
    """The share of ones, as the first edition wrote it."""
    return str(round(bits.count("1") / len(bits), 6)) if bits else ""


def single(name: str) -> tuple[Callable, Callable]:
    """There and back for a table whose rows have one measure each."""
    names, same = SINGLE[name]

    def there(old: pd.DataFrame) -> pd.DataFrame:
        new = old.rename(columns=names).assign(**same)
        if "query" in new:
            new["measure"] = ["teaching" if q == "0" else "answers" for q in new["query"]]
        if "measure" not in new:
            new["measure"] = "answers"
        if "value" not in new:
            new["value"] = new["right"].map(share)
        return new

    def back(new: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
        return new[[names.get(column, column) for column in columns]].set_axis(columns, axis=1)

    return there, back


MEASURES = {  # of one row: from its column of bits and of numbers to a measure
    "emails": {"all rules": ("right", None), "facts": ("facts", None), "names": ("names", None)}
    | {"rules": (None, "rules")},
    "updates": {"ranked": ("ranked", None), "written": ("written", None)}
    | {"others": (None, "others"), "others_written": (None, "others_written")},
    "forgetting": {"past_tense": ("right", "accuracy"), "facts": (None, "facts")}
    | {"neutral": (None, "neutral")},
}
MEASURES["writers"] = MEASURES["emails"]


def several(name: str) -> tuple[Callable, Callable]:
    """There and back for a table whose rows become one row for each measure."""
    measures = MEASURES[name]
    used = {column for pair in measures.values() for column in pair if column}

    def there(old: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for row in old.to_dict("records"):
            kept = {column: value for column, value in row.items() if column not in used}
            if name == "forgetting":
                kept["way"] = "weights" if row["rank"] != "0" else "untaught"
            for measure, (bits, number) in measures.items():
                right = row[bits].translate(YES_NO) if bits else ""
                if not (right or number):
                    continue  # a writer has no sender to name
                value = row[number] if number else share(right)
                rows.append(kept | {"measure": measure, "right": right, "value": value})
        new = pd.DataFrame(rows)
        for column in {"said", "answer"} & set(new):  # what was written stands once
            first = "written" if column == "answer" else "all rules"
            new.loc[new["measure"] != first, column] = ""
        return new

    def back(new: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
        rows = []
        for _, some in new.groupby(new["measure"].eq(next(iter(measures))).cumsum(), sort=False):
            by_measure = some.set_index("measure")
            row = {c: next((v for v in some[c] if v), "") for c in some if c in columns}
            for measure, (bits, number) in measures.items():
                there_is = measure in by_measure.index
                if bits:
                    right = by_measure.loc[measure, "right"] if there_is else ""
                    yes_no = bits in ("facts", "names")
                    row[bits] = right.translate(BITS) if yes_no else right
                if number:
                    row[number] = by_measure.loc[measure, "value"]
            rows.append(row)
        return pd.DataFrame(rows)[columns]

    return there, back


def ordered(new: pd.DataFrame) -> pd.DataFrame:
    """What was varied first, then the answers, then what it took."""
    front = ("task", "draw", "shots", "seed", "policy", "rank", "steps", "mix", "order")
    front += ("kind", "fault", "size", "style", "group", "writer", "earlier", "doctor", "prompt")
    front += ("taught_by", "way", "readout", "asked", "layer", "query", "id", *LEADING)
    first = [column for column in front if column in new]
    return new[first + [column for column in new if column not in first]]


def convert(name: str) -> str:
    """Convert one file; returns a line that says what was proved."""
    path = RESULTS / f"{name}.csv"
    old = pd.read_csv(path, dtype=str, keep_default_na=False)
    if {"way", "measure"} <= set(old):
        return f"{name}: already in the one form"
    there, back = (several if name in MEASURES else single)(name)
    new = ordered(there(old))
    pd.testing.assert_frame_equal(back(new, list(old)), old)
    new.to_csv(path, index=False, lineterminator="\n")
    read_again = pd.read_csv(path, dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(back(read_again, list(old)), old)
    record = path.with_suffix(".json")
    content = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(renamed_settings(content, name), indent=1), encoding="utf-8")
    return f"{name}: {len(old)} rows -> {len(new)}, every cell of the old table found again"


def renamed_settings(record: dict, name: str) -> dict:
    """The record with the names that settings have today, and the command that makes it today."""
    names = {"shown": "seen", "most_epochs": "most_passes"}
    if isinstance(record.get("settings"), dict):
        record["settings"] = {names.get(k, k): v for k, v in record["settings"].items()}
    runs = record.pop("runs")
    return record | {"command": f"python -m lessons {name}", "runs": runs}


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted({*SINGLE, *MEASURES}):
        print(convert(name))
