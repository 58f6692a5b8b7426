"""The application for `uvicorn app.main:app` and `fastapi run app/main.py`.

The network is loaded when the server starts, not when this is imported. `weakpoints serve` adds
JSON logs, a deadline for headers, exit codes, a delay before the socket closes, and takes less
memory.
"""

from app.service.app import create_app
from app.settings import read_settings

app = create_app(read_settings())
