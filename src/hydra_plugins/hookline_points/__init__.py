"""The sweeper that `-m` runs. The folder above has no `__init__.py`, or other packages' plugins would vanish."""
