"""What labelling tools export, read as COCO keypoints: `exports.py` says which reader."""
