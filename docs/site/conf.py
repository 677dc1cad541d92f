"""The site of these pages: `tox -e docs` builds it, without anything from another host."""

from __future__ import annotations

from pathlib import Path

from safemigrations import __version__

project = "safemigrations"
author = "safemigrations contributors"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["site", "recipes"]
root_doc = "index"

# Anchors as GitHub makes them, so that a link works in both places.
myst_heading_anchors = 4
highlight_language = "none"
suppress_warnings = ["misc.highlighting_failure"]  # a page may show a piece of Python with gaps

html_theme = "furo"
html_title = f"safemigrations {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_search_scorer = str(Path(__file__).parent / "scorer.js")
html_copy_source = False
html_show_sphinx = False
# For assistants: llms.txt, and the pages as it names them.
html_extra_path = ["../llms.txt", *map(str, Path(__file__).resolve().parents[1].glob("*.md"))]
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_prompt_text = "$ "

linkcheck_anchors = False
linkcheck_timeout = 20
