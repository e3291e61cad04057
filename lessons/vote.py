"""A vote in the class room: the instructor counts hands before the measurement."""

from collections.abc import Sequence
from html import escape

import ipywidgets as w

from helpers.widgets import Panel, bars


def tally(question: str, options: Sequence[str]) -> Panel:
    """Buttons that count hands for each option, or take one back, above bars with their shares."""
    counts, view = dict.fromkeys(options, 0), w.HTML()

    def draw() -> None:
        total = sum(counts.values())
        shares = {f"{option} ({n})": n / total for option, n in counts.items()} if total else {}
        view.value = bars(shares) if total else "<p>No hands counted yet.</p>"

    def counter(option: str, step: int) -> w.Button:
        name = f"{option}: one more" if step > 0 else "one less"
        button = w.Button(description=name, layout={"width": "auto"})

        def count(_) -> None:
            counts[option] = max(0, counts[option] + step)
            draw()

        button.on_click(count)
        return button

    rows = [w.HBox([counter(option, 1), counter(option, -1)]) for option in options]
    draw()
    heading = w.HTML(f"<b>{escape(question)}</b>")
    return Panel(
        [heading, *rows, view], "A vote for a class room, with buttons in a live notebook."
    )
