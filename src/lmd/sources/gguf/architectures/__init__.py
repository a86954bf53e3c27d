"""What the tensors of each architecture are called by ggml and by Hugging Face, and how one becomes the other."""
