"""Links to the course's own repository: to clone it, and to open it on services such as Colab.

Its slug stands in pyproject.toml.
"""

import re
from pathlib import Path

COLAB = "https://colab.research.google.com/github/"
BINDER = "https://mybinder.org/v2/gh/"
GITHUB = "https://github.com/"
HUB = "https://hub.example.org"  # stands for a class's own JupyterHub
PLACES = "docs/open-elsewhere.md"
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


def places(repository: str, lesson: str) -> dict[str, str]:
    """Where a lesson opens without an installation: a link for each service.

    `lesson` is a path such as notebooks/00_start_here.ipynb.
    """
    pull = f"{HUB}/hub/user-redirect/git-pull?repo={GITHUB}{repository}&branch=main"
    return {
        "Colab": f"{COLAB}{repository}/blob/main/{lesson}",
        "Binder": f"{BINDER}{repository}/main?urlpath=lab/tree/{lesson}",
        "Kaggle": f"https://kaggle.com/kernels/welcome?src={GITHUB}{repository}/blob/main/{lesson}",
        "nbgitpuller": f"{pull}&targetPath=course&urlpath=lab/tree/course/{lesson}",
    }


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
    """The README, the citation, the pages of `docs/` and the lessons."""
    named = [root / "README.md", root / "CITATION.cff", *sorted((root / "docs").glob("*.md"))]
    files = [*named, *_lessons(root)]
    return [file for file in files if file.exists()]


def _lessons(root: Path) -> list[Path]:
    return sorted((root / "notebooks").glob("*.ipynb"))


def problems(root: Path) -> list[str]:
    """A sentence for each link that leads elsewhere, and for each that a file needs and lacks."""
    right = slug(root)
    sentences = []
    for file in linking_files(root):
        text = file.read_text(encoding="utf-8")
        where = file.relative_to(root).as_posix()
        wrong = [start + other for start, other in _links(text, right) if other != right]
        sentences += [f"{where}: {link} should lead to {right}" for link in wrong]
        absent = [link for link in _needed(root, file, right) if link not in text]
        sentences += [f"{where}: the link {link} is missing" for link in absent]
    return sentences


def _needed(root: Path, file: Path, repository: str) -> list[str]:
    """The links that a file must hold: a lesson its badges, the page of places all of them."""
    all_places = [places(repository, f"notebooks/{lesson.name}") for lesson in _lessons(root)]
    if file == root / PLACES:
        return [link for lesson in all_places for link in lesson.values()]
    own = places(repository, f"notebooks/{file.name}")
    return [own["Colab"], own["Binder"]] if own in all_places else []


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
