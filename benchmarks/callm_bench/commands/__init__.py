"""Commands of the benchmarks; each module imports click alone at its top."""
