"""Networks beside each other: pairs, and quantities over time."""
