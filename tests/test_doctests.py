"""Every example in a docstring, in the README and in the documentation runs and prints what it says."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import jaxwave

ROOT = Path(__file__).parents[1]
MODULES = ["jaxwave", *(info.name for info in pkgutil.walk_packages(jaxwave.__path__, "jaxwave."))]
BITS = pytest.mark.optimised
"""Examples that compare bits: two loops round alike where they are compiled as users' are."""
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if path.is_file()]


@pytest.mark.parametrize("name", MODULES)
def test_module(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.name, marks=BITS if path.name == "storage.md" else ()) for path in PAGES]
)
def test_page(path):
    text = re.sub(r"^\s*```.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, path.name, str(path), 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def documented(path):
    """Full names of what the directives of a page document."""
    text, module, found = path.read_text(encoding="utf-8"), "jaxwave", []
    directive = re.compile(r"^\.\. (\w+):: (\S+)", flags=re.MULTILINE)
    blocks = "\n".join(re.findall(r"^```{eval-rst}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))
    for kind, name in directive.findall(blocks):
        if kind == "currentmodule":
            module = name
        else:
            found.append(name if kind == "automodule" else f"{module}.{name}")
    assert directive.findall(blocks) == directive.findall(text), "a directive outside of a block"
    return found


def test_the_api_page_has_the_public_names_and_no_others():
    found = documented(ROOT / "docs" / "api.md")
    assert len(found) == len(set(found))
    public = {f"{module.__name__}.{name}" for module in (jaxwave, jaxwave.storage) for name in module.__all__}
    assert set(found) <= public | {"jaxwave.testing"}
    elsewhere = documented(ROOT / "docs" / "inversion.md")
    twice = {"jaxwave.storage.StorageError"}  # jaxwave.StorageError
    assert public <= {*found, *elsewhere, *twice, "jaxwave.storage"}
