"""What `python -m skvae` does: it reads a file, tunes, compares, draws and writes."""
