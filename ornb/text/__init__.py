"""A model's text made safe to show: Markdown to HTML, citations, comparisons, exports to files."""
