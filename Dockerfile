# The torch wheels bring CUDA with them, so a slim base is enough, on GPU hosts and on CPU hosts.
FROM python:3.12-slim-trixie AS build
WORKDIR /srv
RUN python -m venv /venv
COPY pyproject.toml constraints.txt ./
# The dependencies alone first: they are gigabytes and change seldom, the code is kilobytes and changes daily.
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
    print(*project['dependencies'], *project['optional-dependencies']['tracing'], sep='\n')" > requirements.txt \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt --requirement requirements.txt

FROM python:3.12-slim-trixie AS wheel
WORKDIR /srv
COPY constraints.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt hatchling
COPY pyproject.toml README.md ./
COPY app app
COPY model_weights model_weights
COPY benchmarks/results benchmarks/results
RUN python -m hatchling build --target wheel --directory /dist

FROM python:3.12-slim-trixie
COPY --from=build /venv /venv
COPY --from=wheel /dist /dist
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /dist/*.whl
WORKDIR /srv
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin weakpoints \
 && install --directory --owner=10001 model_weights/downloaded
USER 10001
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
  WEAKPOINTS_HOST=0.0.0.0 WEAKPOINTS_DOWNLOADS=/srv/model_weights/downloaded
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('WEAKPOINTS_PORT', 8000)}/livez\", timeout=4)"]
CMD ["weakpoints", "serve"]
