"""`python -m callm_edge` is the command `callm-edge`."""

from callm_edge.cli import main

if __name__ == "__main__":
    main()
