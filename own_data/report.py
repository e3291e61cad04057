"""The report on one's own data: a table, a figure, and a page of HTML that stands alone.

Whatever comes from the file is escaped in the page and defused in tables.
"""

import base64
import io
import json
from pathlib import Path

import pandas as pd
from jinja2 import Environment

from helpers import plots
from helpers.compare import Interval, interval
from helpers.data import write_whole
from own_data import judging
from own_data.advice import Advice
from own_data.curve import points, questions
from own_data.judging import Judged, accuracy, macro_f1
from own_data.kept import PLACE, USE, Use
from own_data.prompted import CANDIDATES
from own_data.ways import TITLES, WAYS
from own_data.writing import spreadsheet_csv

MOST_PAIRED = 20  # labels in a table of all pairs
PAGE = Environment(autoescape=True).from_string(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
div.wide { overflow-x: auto } table { border-collapse: collapse; margin: .5rem 0 }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }
tr { border-bottom: 1px solid #ccc } img { max-width: 100% }
code { background: #eee; overflow-wrap: anywhere } h2 { margin-top: 2rem }
@media print { body { font-size: 11pt; max-width: none } h2, tr { break-inside: avoid } }
</style></head><body>
{%- macro listing(table) %}
<div class="wide"><table><thead><tr>
{%- for name in table.columns %}<th scope="col" dir="auto">{{ name }}</th>{% endfor -%}
</tr></thead><tbody>
{% for row in table.itertuples(index=False) %}<tr>
{%- for cell in row %}<td dir="auto">{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{%- endmacro %}
<h1>{{ title }}</h1>
<h2>{{ advice.choice }}</h2>
{% for reason in advice.reasons %}<p>{{ reason }}</p>
{% endfor %}<h2>How each way did</h2>
<p>{{ measured }}</p>
{{ listing(table) }}
{% if picture %}<img src="data:image/svg+xml;base64,{{ picture }}" alt="{{ sentence }}">
<p>{{ sentence }}</p>{% endif %}
<dl>{% for name, about in ways %}<dt><b>{{ name }}</b></dt><dd>{{ about }}</dd>
{% endfor %}</dl>
{% if curve %}<h2>What more labelled rows would bring</h2>
<img src="data:image/svg+xml;base64,{{ curve }}" alt="{{ grown }}">
<p>{{ grown }}</p>
{% endif %}{% for heading, about, listed in details %}<h2>{{ heading }}</h2>
<p>{{ about }}</p>
{{ listing(listed) }}
{% endfor %}<h2>To use it</h2>
<p>This folder holds what was measured, ready to use, in <code>{{ place }}</code>. New rows get
their labels, each with its probability, by</p>
<p><code>python -m own_data predict {{ folder }} NEW.csv</code></p>
<p><code>examples.jsonl</code> holds the rows as conversations, as programs and services that
fine-tune larger models take them.</p>
<h2>About the file</h2>
{% for note in notes %}<p dir="auto">{{ note }}</p>
{% endfor %}<h2>To make this again</h2>
<p><code>{{ command }}</code></p>
</body></html>
"""
)
ABOUT = {
    "majority": "No learning at all: what any way has to beat.",
    "words": "A small classic program that counts words and weighs them; it needs no language "
    "model and answers thousands of texts a second.",
    "characters": "The same with pieces of words, which forgives misspellings and works without "
    "spaces between words.",
    "zero-shot": "The language model is told the labels and asked; it has seen none of your rows.",
    "prompt": "The language model reads some of your rows with their labels before each question.",
    "probe": "The language model reads a text, and a small classic program learns from what it "
    "holds in mind then.",
    "lora": "The language model is trained on your rows; what it learns is kept as a small file, "
    "an adapter.",
}


def findings(judged: Judged) -> pd.DataFrame:
    """The comparison as a table to read: a row per way, the best first, failures last."""
    lines = []
    for way in WAYS:
        known = judged.record.ways.get(way.name)
        if known is None:
            continue
        taught, last = known["taught"].get("0", {}), known["failed"]
        note = f"did not work: {last}" if last else taught.get("note", "")
        cells = ["–", "–", 0, "–"]
        if way.name in judged.answers:
            asked = len(judged.answers[way.name].rows)
            shares = accuracy(judged, way.name), macro_f1(judged, way.name)
            cells = [*map(str, shares), asked, f"{known['asking'] / asked:.3f}"]
        seconds = f"{taught['seconds']:.1f}" if taught else "–"
        lines.append((way.title, *cells[:3], seconds, cells[3], taught.get("setting", ""), note))
    names = ["way", "right answers", "macro-F1", "questions", "seconds to teach"]
    names += ["seconds per question", "setting", "note"]
    best_first = sorted(lines, key=lambda line: (line[3] > 0, line[1]), reverse=True)
    return pd.DataFrame(best_first, columns=names).set_index("way")


def drawn(judged: Judged) -> tuple[bytes, str]:
    """The figure as SVG, and its sentence; nothing where no way answered."""
    if not judged.answers:
        return b"", ""
    shares = {TITLES[name]: accuracy(judged, name) for name in judged.answers}
    shares = dict(sorted(shares.items(), key=lambda pair: -pair[1].mean))
    best, share = next(iter(shares.items()))
    title = f"Most often right here: {best}"
    figure = plots.whiskers_drawn(
        {"": {"": shares}}, title, x="share of right answers", form="rows"
    )
    sentence = f"The most often right way, {best}, is right in {share} of its questions"
    return _svg(figure), f"{sentence}; lines are 95 % intervals."


def curves(judged: Judged) -> pd.DataFrame:
    """The learning curves: a row for each way and number of labelled rows."""
    lines = []
    for name in judged.answers:
        for rows, right in points(judged.own, judged.record, name).items():
            lines.append((TITLES[name], rows, len(right), *interval(right)))
    return pd.DataFrame(
        lines, columns=["way", "labelled rows", "questions", "right", "low", "high"]
    )


def curves_drawn(judged: Judged) -> tuple[bytes, str]:
    """The learning curves as SVG, and their sentence; nothing where there are none."""
    table = curves(judged)
    if table.empty:
        return b"", ""
    lines = {
        way: {row.rows: Interval(row.right, row.low, row.high) for row in found.itertuples()}
        for way, found in table.rename(columns={"labelled rows": "rows"}).groupby("way", sort=False)
    }
    title, y = "What labelled rows bring", "share of right answers"
    figure = plots.whiskers_drawn({"": lines}, title, x="labelled rows", y=y)
    grown = [
        f"{way}: {found[min(found)].mean:.2f} with {min(found)} labelled rows, "
        f"{found[max(found)].mean:.2f} with {max(found)}"
        for way, found in lines.items()
    ]
    sentence = (
        f"The share of right answers to the same {len(questions(judged.own))} questions. "
        f"{'; '.join(grown)}. Settings are those chosen with all rows; lines are 95 % intervals."
    )
    return _svg(figure), sentence


def _svg(figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    plots.plt.close(figure)
    return content.getvalue()


def answers_table(judged: Judged) -> pd.DataFrame:
    """Every row that was asked: its text, its label, and what each way said, how surely."""
    own = judged.own
    asked = sorted({int(i) for answers in judged.answers.values() for i in answers.rows})
    table = pd.DataFrame({"row": [own.rows[i].number for i in asked]}, index=asked)
    table["text"] = [own.rows[i].text for i in asked]
    table["label"] = [own.rows[i].label for i in asked]
    for name, answers in judged.answers.items():
        said = [own.labels[label] for label in answers.said]
        table[TITLES[name]] = pd.Series(said, index=answers.rows, dtype=object)
        table[f"{TITLES[name]}: probability"] = pd.Series(answers.sure, index=answers.rows)
    return table


def conversations(judged: Judged) -> str:
    """All rows in the chat format of trainers: a JSON object a line, with its messages."""
    own = judged.own
    told = f"{own.columns[1]} is one of: {', '.join(own.labels)}."

    def line(text: str, label: str) -> str:
        pairs = [("system", told), ("user", text), ("assistant", label)]
        messages = [{"role": role, "content": content} for role, content in pairs]
        return json.dumps({"messages": messages}, ensure_ascii=False)

    return "".join(line(row.text, row.label) + "\n" for row in own.rows)


def details(judged: Judged, way: str) -> list[tuple[str, str, pd.DataFrame]]:
    """What is shown of the way that is recommended or leads: headings, sentences, tables."""
    if not way:
        return []
    title = TITLES[way]
    wrong, odd = judging.mistakes(judged, way), judging.odd_labels(judged)
    found = [_taken_for(judged, way)] if len(wrong) else []
    if len(wrong):
        found.append(("The surest mistakes", f"Wrong answers of {title}, to be read.", wrong))
    if len(odd):
        about = "All ways that learned from your rows, and were asked, say another label."
        found.append(("Labels that look wrong", about, odd))
    return found


def _taken_for(judged: Judged, way: str) -> tuple[str, str, pd.DataFrame]:
    """Which labels were taken for which: all pairs, or of many labels the most frequent."""
    heading = "What is taken for what"
    if len(judged.own.labels) > MOST_PAIRED:
        about = f"The labels that {TITLES[way]} most often took for another."
        return heading, about, judging.mix_ups(judged, way)
    shown = judging.confusion(judged, way)
    shown.columns = [f"said: {name}" for name in shown.columns]
    about = f"How {TITLES[way]} answered; a row for each label of the file."
    return heading, about, shown.reset_index()


def write(folder: Path, judged: Judged, advice: Advice, command: str) -> list[Path]:
    """Write the report and all files to take home; returns their paths.

    `command` says how to make it again. Raises `DataError` when the folder cannot be written to.
    """
    (picture, sentence), (curve, grown) = drawn(judged), curves_drawn(judged)
    table = findings(judged)
    page = PAGE.render(
        title=f"Which way for {judged.own.name}",
        advice=advice,
        measured=_measured(judged),
        table=table.reset_index(),
        picture=base64.b64encode(picture).decode(),
        sentence=sentence,
        curve=base64.b64encode(curve).decode(),
        grown=grown,
        ways=[(TITLES[name], ABOUT[name]) for name in judged.answers],
        details=details(judged, advice.way),
        place=f"{PLACE}/",
        folder=folder,
        notes=judged.own.notes or ["Every row was used."],
        command=command,
    )
    text, label = judged.own.columns
    use = Use(advice.way, advice.runner_up, text, label, advice.decided)
    content = {
        "table.csv": spreadsheet_csv(table),
        "answers.csv": spreadsheet_csv(answers_table(judged), index=False),
        "examples.jsonl": conversations(judged),
        "figure.svg": picture,
        "curve.csv": spreadsheet_csv(curves(judged), index=False),
        "curve.svg": curve,
        USE: json.dumps(use._asdict(), ensure_ascii=False, indent=1),
        "report.html": page,
    }
    for name, whole in content.items():
        write_whole(folder / name, whole)
    return [folder / name for name in content]


def _measured(judged: Judged) -> str:
    """What was learned and asked, in a sentence or two."""
    own = judged.own
    given = own.round(0)
    return (
        f"{len(own.rows)} usable rows with {len(own.labels)} labels. Each way learned "
        f"{len(given.task.train)} of them (settings were chosen on {len(given.dev)} others) and "
        f"was then asked rows that it had not seen, at the file's own proportions; where there was "
        f"time, other parts of the rows were asked, too, after learning the rest. The numbers in "
        f"brackets are the range in which 95 % of such measurements with other questions would lie."
        f"{_candidates(judged)}"
    )


def _candidates(judged: Judged) -> str:
    """What only some labels being scored may have cost; nothing where all were."""
    counted = [
        (len(answers.rows), judged.record.ways[name]["among"])
        for name, answers in judged.answers.items()
        if "among" in judged.record.ways[name]
    ]
    if not counted:
        return ""
    asked, among = max(counted)
    return (
        f" Of so many labels a prompt, with examples or without, and a fine-tuned model chose "
        f"among the {CANDIDATES} of the rows most like each question, so even asking without "
        f"examples leans on your rows. The right label was among them in {among} of {asked} "
        f"questions; these ways cannot be right more often than that."
    )
