"""The report on one's own data: a table, a figure, and a page of HTML that stands alone."""

import base64
import io
from pathlib import Path

import pandas as pd
from jinja2 import Environment

from helpers import plots
from helpers.compare import Interval, summary
from helpers.data import write_whole
from own_data.advice import NAMES, Advice
from own_data.reading import OwnData
from own_data.writing import spreadsheet_csv

PAGE = Environment(autoescape=True).from_string(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left }
tr { border-bottom: 1px solid #ccc } img { max-width: 100% } code { background: #eee }
</style></head><body>
<h1>{{ title }}</h1>
<h2>{{ advice.choice }}</h2>
{% for reason in advice.reasons %}<p>{{ reason }}</p>
{% endfor %}<h2>What was compared</h2>
<p>{{ compared }}</p>
<table><thead><tr>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in table.itertuples(index=False) %}<tr>{% for cell in row %}<td>{{ cell }}</td>
{% endfor %}</tr>
{% endfor %}</tbody></table>
<img src="data:image/png;base64,{{ picture }}" alt="{{ sentence }}">
<p>{{ sentence }}</p>
<h2>About the file</h2>
{% for note in notes %}<p dir="auto">{{ note }}</p>
{% endfor %}<h2>To make this again</h2>
<p><code>{{ command }}</code></p>
</body></html>
"""
)


def findings(results: pd.DataFrame) -> pd.DataFrame:
    """The comparison as a table to read: a row per way, the best first."""
    best_first = summary(results).sort_values("mean", ascending=False)
    asked = len(results["right"].iloc[0])
    rows = {
        "way": [NAMES.get(name, name) for name in best_first["way"]],
        "right answers": [str(share) for share in _intervals(best_first).values()],
        "worst draw": best_first["worst"].map("{:.2f}".format),
        "seconds to teach": best_first["teach_seconds"].map("{:.1f}".format),
        "seconds per question": (best_first["ask_seconds"] / asked).map("{:.3f}".format),
    }
    return pd.DataFrame(rows).set_index("way")


def _intervals(means: pd.DataFrame) -> dict[str, Interval]:
    """The interval of each way, by its name in words."""
    bounds = means[["way", "mean", "low", "high"]].itertuples(index=False, name=None)
    return {NAMES.get(name, name): Interval(*three) for name, *three in bounds}


def drawn(results: pd.DataFrame) -> tuple[bytes, str]:
    """The figure as PNG, and its sentence."""
    shares = _intervals(summary(results).sort_values("mean", ascending=False))
    best, share = next(iter(shares.items()))
    panels = {"": {"": shares}}
    title = f"Most often right here: {best}"
    figure = plots.whiskers_drawn(panels, title, x="share of right answers", form="rows")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    plots.plt.close(figure)
    sentence = f"The most often right way, {best}, is right in {share} of the questions"
    return content.getvalue(), f"{sentence}; lines are 95 % intervals."


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
    page = PAGE.render(
        title=f"Two ways to teach a model: {own.task.name}",
        advice=advice,
        compared=compared,
        table=table.reset_index(),
        picture=base64.b64encode(picture).decode(),
        sentence=sentence,
        notes=own.notes or ["Every row was used."],
        command=command,
    )
    write_whole(paths[0], spreadsheet_csv(table))
    write_whole(paths[1], picture)
    write_whole(paths[2], page)
    return paths
