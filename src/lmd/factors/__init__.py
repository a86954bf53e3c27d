"""A LayerMatrix to its Factors, with exact errors."""
