"""A checkpoint without its architecture, read by rules. Pure Python: ``lmd inspect`` runs them without torch."""
