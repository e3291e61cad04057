"""The report on one's own data: a table, a figure, and a page of HTML that stands alone."""

import base64
import io
from html import escape
from pathlib import Path

import pandas as pd

from helpers import plots
from helpers.compare import summary
from helpers.data import write_whole
from own_data.advice import NAMES, Advice
from own_data.reading import OwnData

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }} td, th {{ padding: .2rem .8rem .2rem 0; text-align: left }}
tr {{ border-bottom: 1px solid #ccc }} img {{ max-width: 100% }} code {{ background: #eee }}
</style></head><body>
<h1>{title}</h1>
<h2>{choice}</h2>
{reasons}
<h2>What was compared</h2>
<p>{compared}</p>
{table}
<img src="data:image/png;base64,{picture}" alt="{sentence}">
<p>{sentence}</p>
<h2>About the file</h2>
{notes}
<h2>To make this again</h2>
<p><code>{command}</code></p>
</body></html>
"""


def findings(results: pd.DataFrame) -> pd.DataFrame:
    """The comparison as a table to read: a row per method, the best first."""
    found = summary(results).sort_values("mean", ascending=False)
    asked = len(results["right"].iloc[0])
    rows = {
        "way": [NAMES.get(name, name) for name in found["method"]],
        "right answers": [
            f"{mean:.2f} ({low:.2f} to {high:.2f})"
            for mean, low, high in zip(found["mean"], found["low"], found["high"], strict=True)
        ],
        "worst draw": found["worst"].map("{:.2f}".format),
        "seconds to teach": found["teach_seconds"].map("{:.1f}".format),
        "seconds per question": (found["ask_seconds"] / asked).map("{:.3f}".format),
    }
    return pd.DataFrame(rows).set_index("way")


def drawn(results: pd.DataFrame) -> tuple[bytes, str]:
    """The figure as PNG, and its sentence."""
    found = summary(results).sort_values("mean")
    names = [NAMES.get(name, name) for name in found["method"]]
    bounds = found[["mean", "low", "high"]].itertuples(index=False, name=None)
    values = dict(zip(names, bounds, strict=True))
    best = names[-1]
    figure = plots.ranking(values, f"Most often right here: {best}", "share of right answers")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    plots.plt.close(figure)
    mean, low, high = values[best]
    sentence = f"The most often right way, {best}, is right in {mean:.2f} ({low:.2f} to {high:.2f})"
    return content.getvalue(), f"{sentence} of the questions; lines are 95 % intervals."


def write(
    folder: Path, own: OwnData, results: pd.DataFrame, advice: Advice, compared: str, command: str
) -> list[Path]:
    """Write `table.csv`, `figure.png` and `report.html` into a folder; returns their paths.

    `compared` says what the plan was, `command` how to make it again. Raises `DataError` when the
    folder cannot be written to.
    """
    picture, sentence = drawn(results)
    table = findings(results)
    paths = [folder / name for name in ("table.csv", "figure.png", "report.html")]
    notes = own.notes or ["Every row was used."]
    page = PAGE.format(
        title=escape(f"Two ways to teach a model: {own.task.name}"),
        choice=escape(advice.choice),
        reasons="\n".join(f"<p>{escape(reason)}</p>" for reason in advice.reasons),
        compared=escape(compared),
        table=table.reset_index().to_html(index=False, border=0),
        picture=base64.b64encode(picture).decode(),
        sentence=escape(sentence),
        notes="\n".join(f"<p>{escape(note)}</p>" for note in notes),
        command=escape(command),
    )
    write_whole(paths[0], table.to_csv(lineterminator="\n"))
    write_whole(paths[1], picture)
    write_whole(paths[2], page)
    return paths
