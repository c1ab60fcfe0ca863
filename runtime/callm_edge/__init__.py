"""callm_edge: what runs on the device and the server. It never imports torch."""

__version__ = "0.1.0"
