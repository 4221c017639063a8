"""Pages that list things have all of them, and messages that they quote are the code's."""

import ast
import re
from pathlib import Path

import pytest

import jaxwave

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOT_PAGES = {"performance_table", "performance_tuning", "parts_table"}  # included in others


def page(name):
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def strings():
    """The constant parts of all strings of the package, joined where source code joins them."""
    for path in (ROOT / "jaxwave").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def quoted():
    """What the tables of messages.md quote: the first cells, without what differs from one message to the next."""
    for table in re.findall(r"^\| message .*?\n\n", page("messages"), flags=re.MULTILINE | re.DOTALL):
        for row in table.strip().splitlines()[2:]:
            words = row.split("|")[1]
            if "from JAX" in words:
                continue
            parts = re.split(r"`[^`]*`|must be|finite and|\[?\.\.\.\]?|\b[ns]\b|index i|;", words)
            yield from (part for part in map(str.strip, parts) if len(part) > 8)


def test_the_landing_page_leads_to_every_page():
    (tree,) = re.findall(r"```{toctree}\n(.*?)```", page("index"), flags=re.DOTALL)
    names = [line for line in tree.splitlines() if line and not line.startswith(":")]
    there = {path.stem for path in DOCS.glob("*.md")} - NOT_PAGES - {"index"}
    tables = {name for name in there if name.endswith("_table")}
    assert set(names) == there - tables and len(names) == len(set(names))


def test_the_landing_page_names_every_equation():
    equations = {
        name
        for name in jaxwave.__all__
        if isinstance(getattr(jaxwave, name), type) and issubclass(getattr(jaxwave, name), jaxwave.Equation)
    }
    table = set(re.findall(r"^\| \[`(\w+)`\]", page("index"), flags=re.MULTILINE))
    assert table == {name for name in equations if not name.endswith(("Equation", "Step"))}


def test_the_landing_page_has_their_dimensions():
    for name, dimensions in re.findall(r"^\| \[`(\w+)`\][^|]*\| ([\d, ]+) \|", page("index"), flags=re.MULTILINE):
        assert tuple(map(int, dimensions.split(","))) == getattr(jaxwave, name).dimensions, name


def test_the_gallery_has_every_notebook_and_example():
    found = set(re.findall(r"\]\(\.\./((?:notebooks|examples)/[^)]+)\)", page("gallery")))
    there = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "examples").glob("*.py")]
    assert found == {path.relative_to(ROOT).as_posix() for path in there}


@pytest.mark.parametrize("name", ["index", "gallery"])
def test_pictures_of_cards_are_there(name):
    pictures = re.findall(r"^:img-top: (.*)$", page(name), flags=re.MULTILINE)
    assert pictures and all((DOCS / picture).is_file() for picture in pictures)


def test_messages_has_every_warning_and_error():
    named = re.findall(r"`(?:jaxwave\.)?(\w+(?:Warning|Error))`", page("messages"))
    public = {
        name
        for name in jaxwave.__all__
        if isinstance(getattr(jaxwave, name), type) and issubclass(getattr(jaxwave, name), Exception)
    }
    assert public <= set(named)


def test_messages_quotes_what_the_code_says():
    said = list(strings())
    found = list(quoted())
    assert len(found) > 20
    assert [part for part in found if not any(part in text for text in said)] == []
