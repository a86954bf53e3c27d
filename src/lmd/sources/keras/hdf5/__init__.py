"""HDF5 as a container: what is in a file, checked, and ways to read it. The library itself runs in a child process."""
