"""callm_bench: latency and throughput, measured side by side."""
