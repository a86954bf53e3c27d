"""GGUF files, as llama.cpp and its tools write them."""
