"""The time that a comparison may take, and a bar that says what is being done and what is left."""

import time

from tqdm.auto import tqdm


class Clock:
    """Seconds that a comparison has run, over all its calls, of those that it may take.

    `before` are those of earlier calls. Used in a `with`, it shows a bar.
    """

    def __init__(self, seconds: float, before: float = 0.0):
        self.seconds, self.before = seconds, before
        self._began = time.monotonic()
        self._bar = None

    def now(self) -> float:
        """Seconds so far."""
        return self.before + time.monotonic() - self._began

    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - self.now()

    def __enter__(self) -> "Clock":
        form = "{percentage:3.0f}% of the time |{bar}| {desc}"
        self._bar = tqdm(total=self.seconds, bar_format=form, leave=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._bar = None

    def tell(self, doing: str) -> None:
        """Say on the bar what is being done."""
        if self._bar is not None:
            self._bar.set_description_str(doing, refresh=False)
            self._bar.update(min(self.seconds, self.now()) - self._bar.n)  # shown now and then

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is None:
            print(text)
        else:
            tqdm.write(text)
