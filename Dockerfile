# The torch wheels bring CUDA with them, so a slim base is enough, on GPU hosts and on CPU hosts.
FROM python:3.12-slim-trixie AS build
WORKDIR /srv
RUN python -m venv /venv
COPY pyproject.toml README.md ./
COPY app/__init__.py app/__init__.py
# The dependencies alone first: they are gigabytes and change seldom, the code is kilobytes and changes daily.
RUN true \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check '.[tracing]' \
 && /venv/bin/pip uninstall --yes weakpoints

FROM python:3.12-slim-trixie
COPY --from=build /venv /venv
WORKDIR /srv
COPY app app
COPY model_weights model_weights
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin weakpoints
USER 10001
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 WEAKPOINTS_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('WEAKPOINTS_PORT', 8000)}/livez\", timeout=4)"]
CMD ["python", "-m", "app.cli", "serve"]
