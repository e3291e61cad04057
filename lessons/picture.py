"""The growing picture: what each lesson adds to one drawing of a model that is taught in two ways.

A prompt's tokens enter below and pass the layers; what they leave in each layer is the cache.
Beside each layer's matrices stands an adapter. All that belongs to the prompt is orange, all that
belongs to the weights blue, what needs both green, and the model itself grey.
"""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from helpers import plots
from helpers.plots import BOTH, PROMPT, WEIGHTS

GREY = "0.55"
LAYERS, TOKENS = 4, 8  # drawn; the model has thirty layers
LEFT, BASE, STEP = 2.2, 1.6, 0.8  # where the lowest layer begins, and how far apart layers are
ADDED = (  # by lesson: the part of the drawing that is new, and what it says
    ("outline", "A prompt goes in and is gone; training leaves changed weights."),
    ("tokens", "Examples and a question are tokens; the model scores every label after them."),
    (
        "adapters",
        "Training writes thin adapters beside the matrices, by gradients from the answer.",
    ),
    ("examples", "The same examples can go either way."),
    ("cache", "What the tokens leave in every layer is the cache; it can be kept."),
    ("file", "An adapter is a file that stays; a prompt has to be given again."),
    ("fault", "A broken demonstration misleads whatever reads it."),
    ("jobs", "Four jobs, each with its own rule: which way carries which?"),
    ("together", "Both together: the adapter brings codes, the prompt the style."),
    ("heads", "A few heads fetch from the prompt; the adapter acts in every layer."),
    ("choice", "Which way? A prompt selects a skill; weights store what the model lacks."),
)


def draw(lesson: int) -> Figure:
    """The drawing as it stands in a lesson, all earlier parts included."""
    with plt.rc_context({"font.size": 10}):
        figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
        axis.set(xlim=(0, 11), ylim=(0, 6))
        axis.axis("off")
        for part, _ in ADDED[: lesson + 1]:
            PARTS[part](axis)
        axis.set_title(ADDED[lesson][1], loc="left", fontsize=11, fontweight="bold")
    return figure


def show(lesson: int) -> None:
    """Draw it in a lesson, with its sentence."""
    new = ADDED[lesson][0]
    plots.show(draw(lesson), f"The picture so far ({lesson + 1} of 11 parts; new: {new}).")


def _box(axis: Axes, x: float, y: float, width: float, height: float, colour: str, text: str = ""):
    axis.add_patch(
        FancyBboxPatch((x, y), width, height, "round,pad=0.03", fc="white", ec=colour, lw=1.6)
    )
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", color=colour)


def _square(axis: Axes, x: float, y: float, colour: str, size: float = 0.22, filled: bool = True):
    axis.add_patch(Rectangle((x, y), size, size, fc=colour if filled else "white", ec=colour))


def _arrow(axis: Axes, start: tuple, end: tuple, colour: str, style: str = "->"):
    axis.annotate("", end, start, arrowprops={"arrowstyle": style, "color": colour, "lw": 1.6})


def _heights() -> list[float]:
    return [BASE + STEP * i for i in range(LAYERS)]


def _outline(axis: Axes) -> None:
    for y in _heights():
        _box(axis, LEFT, y, 4.0, 0.5, GREY)
    axis.text(LEFT + 2, BASE + STEP * LAYERS + 0.15, "answer", ha="center", color=GREY)
    _arrow(axis, (LEFT + 2, BASE + STEP * (LAYERS - 1) + 0.55), (LEFT + 2, 4.9), GREY)
    axis.text(LEFT + 3.1, BASE + STEP + 0.15, "layers", color=GREY)
    axis.text(0.1, 0.75, "prompt", color=PROMPT)
    axis.text(7.6, BASE + STEP * LAYERS - 0.02, "weights", color=WEIGHTS)
    _arrow(axis, (1.2, 0.85), (LEFT + 0.2, BASE - 0.1), PROMPT)
    _arrow(axis, (7.5, BASE + STEP * LAYERS), (6.3, BASE + STEP * (LAYERS - 1) + 0.3), WEIGHTS)


def _tokens(axis: Axes) -> None:
    for i in range(TOKENS):
        _square(axis, LEFT + 0.1 + 0.48 * i, 0.85, PROMPT, filled=i < TOKENS - 2)
    axis.text(LEFT, 0.4, "examples", color=PROMPT)
    axis.text(LEFT + 2.95, 0.4, "question", color=PROMPT)


def _adapters(axis: Axes) -> None:
    for y in _heights():
        axis.add_patch(Rectangle((6.4, y), 0.12, 0.5, fc=WEIGHTS, ec=WEIGHTS))
        axis.add_patch(Rectangle((6.58, y + 0.19), 0.5, 0.12, fc=WEIGHTS, ec=WEIGHTS))
    axis.text(6.3, BASE - 0.45, "adapter", color=WEIGHTS)


def _examples(axis: Axes) -> None:
    _box(axis, 8.6, 0.6, 1.9, 0.6, BOTH, "examples")
    _arrow(axis, (8.5, 0.8), (LEFT + 4.1, 0.95), PROMPT)
    _arrow(axis, (9.4, 1.3), (7.2, BASE + 0.4), WEIGHTS)


def _cache(axis: Axes) -> None:
    for y in _heights():
        for i in range(TOKENS - 2):
            _square(axis, LEFT + 0.14 + 0.48 * i, y + 0.16, PROMPT, 0.16)
    axis.text(0.1, BASE + 0.2, "cache", color=PROMPT)


def _file(axis: Axes) -> None:
    _box(axis, 8.6, 2.0, 1.9, 0.6, WEIGHTS, "a file, 10 MB")
    _arrow(axis, (8.5, 2.3), (7.2, 2.5), WEIGHTS, "<->")


def _fault(axis: Axes) -> None:
    axis.text(LEFT + 0.21 + 0.48 * 2, 0.93, "×", ha="center", va="center", fontsize=20)


def _jobs(axis: Axes) -> None:
    axis.text(LEFT - 0.1, 5.45, "style, tone?", color=PROMPT, ha="right")
    axis.text(LEFT + 4.1, 5.45, "topics, codes?", color=WEIGHTS)


def _together(axis: Axes) -> None:
    _box(axis, LEFT + 0.9, 5.4, 2.2, 0.45, BOTH, "both at once")


def _heads(axis: Axes) -> None:
    y = _heights()[2]
    _arrow(axis, (LEFT + 3.4, y + 0.3), (LEFT + 1.2, y + 0.3), "black")
    axis.text(0.1, y + 0.15, "heads fetch", color="black")


def _choice(axis: Axes) -> None:
    axis.text(8.3, 4.2, "has the skill: prompt", color=PROMPT)
    axis.text(8.3, 3.7, "lacks it: weights", color=WEIGHTS)


PARTS = {part: globals()[f"_{part}"] for part, _ in ADDED}
