"""Label Studio's ML backend: it sends tasks, and gets regions. See docs/labelling.md."""
