"""The service of weakpoints and its commands. What one imports is the library `weakpoints`."""
