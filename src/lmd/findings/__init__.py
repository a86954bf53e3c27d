"""Factors, Activations and Network to Findings; one folder per question."""
