"""`python -m callm_edge` is the command `callm-edge`."""

from callm_edge.cli import main

main()
