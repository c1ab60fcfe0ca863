"""One class per kernel: checks the shapes, chooses the grid, and enqueues. None allocates, none waits."""
