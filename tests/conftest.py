"""Examples are the same each time; a loaded machine is no failure."""

from hypothesis import settings

settings.register_profile("lmd", deadline=None, derandomize=True)
settings.load_profile("lmd")
