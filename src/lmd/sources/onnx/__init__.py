"""ONNX files: the graph, its weights where they lie in the file, and the operations that run it."""
