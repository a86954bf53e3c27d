"""Reading with libraries in C, in a process of their own: a file that crashes or hangs one harms nobody else."""
