"""Teaching and judging the video-language branch: clips, weak captions, cached features, tuning, export."""
