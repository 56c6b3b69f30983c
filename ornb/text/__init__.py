"""A model's text made safe to show: Markdown to HTML, block by block, and what comes with it."""
