"""Layers of several matrices: gates, experts, states, messages."""
