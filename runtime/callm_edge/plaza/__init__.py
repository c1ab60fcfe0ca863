"""A synthetic plaza with ground truth: footage for trials, demonstrations and tests, without a camera or a data set."""

from callm_edge.plaza.camera import FPS, HEIGHT, WIDTH
from callm_edge.plaza.plaza import ANOMALIES, Plaza, Truth

__all__ = ["ANOMALIES", "FPS", "HEIGHT", "WIDTH", "Plaza", "Truth"]
