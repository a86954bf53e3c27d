"""Damaged files by the thousand: each gives a clear error or a correct result, and harms nothing."""
