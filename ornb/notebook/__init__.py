"""What stands in a notebook: the magics, and widgets of one module, ``.js`` and ``.css`` each.

What several of them need is in parts (``theme.css``, ``text.css``, ``elements.js``, ``kernel.js``,
``text.js``), which `ornb.notebook.base` joins to each as its imports say.

They draw and take gestures; truth, validation and network stay in the modules below them.
"""
