"""The application for `uvicorn app.main:app` and `fastapi run app/main.py`; `weakpoints serve` adds what a container wants."""

from app.service.routes import create_app
from app.settings import Settings

app = create_app(Settings())
