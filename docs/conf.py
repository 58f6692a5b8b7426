"""How Sphinx builds the site: `make docs`.

Pages are Markdown (MyST); tables are made of the code.
"""

import sys
from pathlib import Path

from jinja2 import Environment, StrictUndefined

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs import (  # noqa: E402
    activation_table,
    evaluation_tables,
    figures,
    named_tables,
    network_table,
    trade_tables,
)
from weakpoints import __version__  # noqa: E402  the root has to be on the path first
from weakpoints.method import (  # noqa: E402
    close_up,
    contrast,
    fusion,
    keypoints,
    peaks,
    rarity,
    refinement,
    suppression,
)
from weakpoints.options import NetworkDefaults  # noqa: E402

project = "weakpoints"
author = "the weakpoints developers"
version = release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 300  # seconds for a cell, on a busy machine
nb_execution_raise_on_error = True
nb_execution_show_tb = True
exclude_patterns = ["_build"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
html_theme = "sphinx_book_theme"
html_title = f"weakpoints {version}"
html_show_sphinx = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
}


def made_of_the_code(app: object, page: str, source: list[str]) -> None:
    """Fill in the tables and figures that a page asks for; an unknown name stops the build."""
    modules = (close_up, contrast, fusion, keypoints, peaks, rarity, refinement, suppression)
    constants = {module.__name__.rpartition(".")[2]: module for module in modules}
    names = {
        **vars(figures),
        "evaluation": evaluation_tables,
        "named": named_tables,
        "trade": trade_tables,
        "classifiers": network_table,
        "activations": activation_table,
        "network_defaults": NetworkDefaults,
        **constants,
    }
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    source[0] = template.from_string(source[0]).render(names)


def setup(app: object) -> None:
    app.connect("source-read", made_of_the_code)  # type: ignore[attr-defined]
