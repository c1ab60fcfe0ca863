"""callm_jetson: getting callm-edge onto NVIDIA Jetson boards."""
