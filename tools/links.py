"""Links to the course's own repository: Colab, Binder, clone. Its slug stands in pyproject.toml."""

import re
from pathlib import Path

COLAB = "https://colab.research.google.com/github/"
BINDER = "https://mybinder.org/v2/gh/"
GITHUB = "https://github.com/"
SLUG = r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+"


class LinkError(ValueError):
    """The slug is missing or is none; one sentence that says what to do."""


def slug(root: Path) -> str:
    """The repository as OWNER/NAME."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    line = re.search(rf'^repository = "({SLUG})"', text, re.M)
    if not line:
        raise LinkError(
            'pyproject.toml lacks `repository = "OWNER/NAME"` under [tool.course]: write it there.'
        )
    return line[1]


def rewrite(root: Path, new: str) -> list[Path]:
    """Let every link lead to `new`; returns the files that changed.

    Every other byte stays as it is. The links come first and the slug last, so that after an
    interruption the same call finishes the work.
    """
    name = new.split("/")[-1]
    if not re.fullmatch(SLUG, new) or name.endswith(".git") or not name.strip("."):
        raise LinkError(f"{new!r} is no repository: give it as OWNER/NAME, as GitHub shows it.")
    old = re.escape(slug(root))
    starts = "|".join(map(re.escape, (COLAB, BINDER, GITHUB)))
    # A name may not go on behind the slug; `.git` or a full stop may follow it.
    changed = [
        file
        for file in linking_files(root)
        if _replace(file, rf"({starts}){old}(?![\w-]|\.(?!git\b)\w)", new)
    ]
    settings = root / "pyproject.toml"
    return changed + [settings] * _replace(settings, rf'(?m)(^repository = "){old}(?=")', new)


def _replace(file: Path, pattern: str, new: str) -> bool:
    before = file.read_bytes()
    after = re.sub(pattern.encode(), lambda match: match[1] + new.encode(), before)
    if after != before:
        part = file.with_name(file.name + ".part")
        part.write_bytes(after)
        part.replace(file)
    return after != before


def linking_files(root: Path) -> list[Path]:
    """The README, the citation and the lessons."""
    named = [root / "README.md", root / "CITATION.cff"]
    files = [*named, *sorted((root / "notebooks").glob("*.ipynb"))]
    return [file for file in files if file.exists()]


def problems(root: Path) -> list[str]:
    """A sentence for each link that leads elsewhere and each badge that a lesson lacks."""
    right = slug(root)
    sentences = []
    for file in linking_files(root):
        text = file.read_text(encoding="utf-8")
        where = file.relative_to(root).as_posix()
        wrong = [start + other for start, other in _links(text, right) if other != right]
        sentences += [f"{where}: {link} should lead to {right}" for link in wrong]
        if file.suffix == ".ipynb":
            badges = (
                f"{COLAB}{right}/blob/main/{where}",
                f"{BINDER}{right}/main?urlpath=lab/tree/{where}",
            )
            absent = [link for link in badges if link not in text]
            sentences += [f"{where}: the link {link} is missing" for link in absent]
    return sentences


def _links(text: str, right: str) -> list[tuple[str, str]]:
    """Where each link to the course starts and which repository it names.

    Of the links to GitHub those count that clone or that name a repository like ours: a page may
    well point to other people's work.
    """
    links = re.findall(rf"({COLAB}|{re.escape(BINDER)})({SLUG})", text)
    for match in re.finditer(rf"{GITHUB}({SLUG})", text):
        line_so_far = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        other = re.sub(r"(\.git)?\.*$", "", match[1])
        if "clone" in line_so_far or other.split("/")[1] == right.split("/")[1]:
            links.append((GITHUB, other))
    return links
