"""weakpoints: keypoints of the main object in a photograph.

They come from a network that only ever saw class labels.
"""

__version__ = "0.6.0"
