"""What a benchmark leaves behind: a table, pictures, a page, and the figures in README."""
