"""Configuration of the documentation: ``sphinx-build -W docs docs/_build``."""

from importlib.metadata import version as installed_version

project = "jaxwave"
author = "The jaxwave authors"
copyright = author
version = release = installed_version("jaxwave")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "myst_parser"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Reference"]

html_theme = "furo"
html_title = f"jaxwave {version}"
