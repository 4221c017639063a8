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
