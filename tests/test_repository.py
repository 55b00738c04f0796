"""What every file of the repository must hold, or must not."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Final

import pytest

import asyncsched

ROOT: Final = Path(__file__).parent.parent


def tracked() -> list[Path]:
    """The files of the project: what git knows, or, in an unpacked archive, what is there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    names = listed.stdout.split("\0") if listed.returncode == 0 else [str(path) for path in ROOT.rglob("*")]
    return [ROOT / name for name in names if name and (ROOT / name).is_file() and ".venv" not in Path(name).parts]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


FILES: Final = tracked()


def matching(pattern: str) -> list[str]:
    """Where a pattern stands: file, line, and what was found."""
    expression = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {found[0]}"
        for path in FILES
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if (found := expression.search(line))
    ]


def test_there_are_files_to_look_at() -> None:
    assert {"pyproject.toml", "README.md", "LICENSE"} <= {path.name for path in FILES}


def test_every_file_is_text_that_ends_with_a_newline() -> None:
    wrong = [str(path.relative_to(ROOT)) for path in FILES if (text := text_of(path)) and not text.endswith("\n")]
    assert wrong == []


def test_no_line_ends_in_blanks_or_a_carriage_return() -> None:
    assert matching(r"[ \t\r]+$") == []


def test_no_mark_of_a_merge_is_left() -> None:
    assert matching(r"^(<{7}|>{7})( |$)") == []


@pytest.mark.parametrize(
    "pattern",
    [
        # A place on somebody's machine.
        r"(?<![\w.$}>])/(home|Users|root|work|workspace|builds|mnt)/[\w.-]+",
        r"[A-Z]:\\\\?Users",
        # A host that packages come from: set-up follows the machine's own configuration.
        r"(index-url|extra-index-url|find-links|trusted-host)\b",
        r"(pypi\.org|pythonhosted\.org|pypi-mirror|/simple/?[\"'\s])",
        # Credentials.
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
        r"\b(ghp|gho|ghs|glpat|xox[abp])[-_][A-Za-z0-9]{16,}",
        r"\bAKIA[0-9A-Z]{16}\b",
    ],
)
def test_no_file_knows_a_machine_a_registry_or_a_secret(pattern: str) -> None:
    here = str(Path(__file__).relative_to(ROOT))
    assert [found for found in matching(pattern) if not found.startswith(here)] == []


def test_no_lock_file_is_kept() -> None:
    assert [path.name for path in FILES if path.name in {"uv.lock", "poetry.lock", "Pipfile.lock"}] == []


def test_the_changelog_has_a_place_for_the_next_change() -> None:
    headings = re.findall(r"^## \[(.+?)\]", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_scripts_can_be_executed() -> None:
    assert all((ROOT / ".ci" / script).stat().st_mode & 0o111 for script in ("run", "setup"))


def test_every_decision_is_listed_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    index = text_of(folder / "README.md")
    records = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert len(records) >= 14
    assert [record for record in records if f"({record})" not in index] == []


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")), ids=lambda path: path.name)
def test_a_decision_says_why_what_and_what_follows(path: Path) -> None:
    headings = re.findall(r"^## (.+)$", text_of(path), re.MULTILINE)
    assert {"Context", "Decision", "Consequences"} <= set(headings)


def relative_links() -> list[tuple[Path, str]]:
    pages = [path for path in FILES if path.suffix == ".md"]
    return [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(page))
        if "://" not in target and not target.startswith("mailto:")
    ]


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page, target in relative_links()
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_package_and_its_metadata_tell_one_version() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    assert asyncsched.__version__ == project["version"]
