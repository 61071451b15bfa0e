"""What `python -m skvae` does: files, the search and its table, figures."""
