"""A network run on examples: what each layer sees, which gates open, how the whole bends its inputs."""
