"""What `weakpoints batch --format` writes beside Parquet: a file or a folder for each tool."""
