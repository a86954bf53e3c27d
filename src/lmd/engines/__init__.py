"""Where work runs: any object with ``map(function, items)``."""
