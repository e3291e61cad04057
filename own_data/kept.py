"""What a comparison hands over: ways that are ready to use, and the labels that they give.

Nothing that is read here runs code: settings are JSON, numbers are plain arrays, and an adapter is
safetensors.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from helpers import model as models
from helpers.data import DataError, write_whole
from helpers.model import LanguageModel
from own_data.classifiers import KNOWN, PROBE, load_counts, load_probe
from own_data.files import bare_name, read_file
from own_data.prompted import PROMPT, cutter, load_asked
from own_data.reading import cleaned, column_named
from own_data.writing import spreadsheet_csv

PLACE, USE = "ways", "use.json"  # in a comparison's folder: the ways, and what they are for


class Use(NamedTuple):
    """What a comparison's folder is for: the ways by name, and the columns that they read."""

    recommended: str
    runner_up: str
    text: str
    label: str
    decided: bool


def load_way(folder: Path, lm: LanguageModel | None = None):
    """The way that is kept in a folder; its language model is loaded where it needs one.

    Raises `DataError` when the folder holds none, or a damaged one.
    """
    try:
        if (folder / PROMPT).exists():
            kept = json.loads((folder / PROMPT).read_text(encoding="utf-8"))
            return load_asked(lm or models.load(kept["model"]), folder)
        known = json.loads((folder / KNOWN[0]).read_text(encoding="utf-8"))
        if known["kind"] == PROBE:
            return load_probe(lm or models.load(known["model"]), folder)
        return load_counts(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} holds no way that can be used ({error}).") from error


def label_texts(way, queries: list[str]) -> tuple[list[str], np.ndarray]:
    """The likeliest label of each text, and its probability [texts]."""
    cut = cutter(way.lm) if hasattr(way, "lm") else str
    log_ps = [np.empty((0, len(way.labels)))]
    for start in tqdm(range(0, len(queries), way.at_once), desc="labelling", leave=False):
        log_ps.append(way.log_p([cut(text) for text in queries[start : start + way.at_once]]))
    log_p = np.concatenate(log_ps)
    return [way.labels[best] for best in log_p.argmax(1)], np.exp(log_p.max(1))


def predict(
    folder: str | Path,
    path: str | Path,
    text: str | None = None,
    name: str | None = None,
    out: str | Path | None = None,
) -> Path:
    """Write the rows of a file with their labels and probabilities beside them; returns where.

    The way is `name`, or what the comparison in `folder` recommends; the column of texts is `text`,
    or the one that it learned from. Rows without a text get no label. Raises `DataError` when
    folder or file cannot be used.
    """
    folder, path = Path(folder).expanduser(), Path(path).expanduser()
    try:
        use = Use(**json.loads((folder / USE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{folder} holds no finished comparison: name its --out folder.") from error
    ways = sorted(file.name for file in (folder / PLACE).glob("*") if file.is_dir())
    chosen = name or use.recommended
    if chosen not in ways:
        raise DataError(
            f"{folder} holds no way {chosen!r}; there are: {', '.join(ways) or 'none'}."
        )
    header, rows, _ = read_file(path)
    column = column_named(path, header, text or use.text)
    texts = [cleaned(cells[column]) if column < len(cells) else "" for _, cells in rows]
    asked = [i for i, said in enumerate(texts) if said]
    labels, sure = label_texts(load_way(folder / PLACE / chosen), [texts[i] for i in asked])
    table = pd.DataFrame([(cells + [""] * len(header))[: len(header)] for _, cells in rows])
    table.columns = header
    said, how = dict(zip(asked, labels, strict=True)), dict(zip(asked, sure, strict=True))
    table.insert(len(header), f"{use.label} (said)", [said.get(i, "") for i in table.index], True)
    chances = [f"{how[i]:.3f}" if i in how else "" for i in table.index]
    table.insert(len(header) + 1, "probability", chances, True)
    target = Path(out) if out else path.with_name(f"{bare_name(path)}-labelled.csv")
    write_whole(target, spreadsheet_csv(table, index=False))
    return target
