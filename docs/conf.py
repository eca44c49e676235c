"""The documentation site: `make docs` builds it with Sphinx from these pages and the package's docstrings."""

import pyrunc

project = "pyrunc"
author = "the pyrunc authors"
release = version = pyrunc.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["man", "bench"]
html_theme = "furo"
html_title = f"pyrunc {version}"

# as code hosts do, for links into a page
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {
    "members": True,
    "inherited-members": True,
    "exclude-members": "__init__, __new__, with_traceback, add_note, args",
}
napoleon_use_ivar = True
