"""Configuration of the documentation: ``sphinx-build -W docs docs/_build``."""

import re
from importlib.metadata import version as installed_version

project = "jaxwave"
author = "The jaxwave authors"
copyright = author
version = release = installed_version("jaxwave")

extensions = [
    "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "myst_parser", "sphinx_design",
    "sphinx_copybutton",
]  # fmt: skip
exclude_patterns = ["_build", "performance_table.md", "performance_tuning.md", "parts_table.md"]

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

default_role = "py:obj"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Reference"]

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True  # lines of code are copied without prompts, and what they print is not

html_theme = "furo"
html_title = f"jaxwave {version}"
html_static_path = ["static"]
html_css_files = ["tables.css"]


def setup(app):
    """Shapes such as [shot, *cells] are code, whose asterisk is not the beginning of emphasis."""

    def quote_shapes(app, what, name, obj, options, lines):
        lines[:] = [re.sub(r"(?<!`)\[[^\[\]`]*\*\w+[^\[\]`]*\](?!`)", r"``\g<0>``", line) for line in lines]

    app.connect("autodoc-process-docstring", quote_shapes)
