"""Widgets: one module, one ``.js`` and one ``.css`` each, under the same name.

They draw and take gestures; truth, validation and network stay in the modules below them.
"""
