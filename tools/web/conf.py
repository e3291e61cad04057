"""How Sphinx builds the web edition: see `tools/site.py`."""

project = "Two ways to teach a model"
copyright = "the authors of the course; text and data CC BY 4.0, code MIT"
language = "en"
extensions = ["myst_nb"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
mathjax_path = "mathjax/es5/tex-svg.js"
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = ["course.js", ("ask.js", {"type": "module"})]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"show_navbar_depth": 2, "use_download_button": False}
suppress_warnings = ["myst.header", "myst.xref_missing"]
