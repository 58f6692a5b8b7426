# The torch wheels bring CUDA with them, so a slim base is enough, on GPU hosts and on CPU hosts.
FROM python:3.12-slim-trixie AS build
WORKDIR /srv
RUN python -m venv /venv
COPY pyproject.toml constraints.txt ./
# The dependencies alone first: they are gigabytes and change seldom, the code is kilobytes and changes daily.
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
    print(*project['dependencies'], *project['optional-dependencies']['tracing'], sep='\n')" > requirements.txt \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt --requirement requirements.txt
# What inference never loads: profilers, several GPUs at once, alternatives, headers, static libraries, tests.
RUN cd /venv/lib/python3*/site-packages \
 && rm -rf nvidia/*/include nvidia/*/lib/libcusolverMg.* nvidia/*/lib/libnvperf_* nvidia/*/lib/*.alt.* nvidia/*/lib/libnvblas.* \
    nvidia/*/lib/libcufftw.* nvidia/*/lib/libpcsamplingutil.* nvidia/*/lib/*.a nvidia/*/lib/*.bc \
    torch/include torch/bin/protoc* triton/backends/nvidia/lib/cupti* triton/_C/libproton.so triton/instrumentation \
 && find . -type d -name tests -prune -exec rm -rf {} +

# Triton compiles its launcher at the first launch. The image has no compiler, so it is compiled here.
FROM build AS launcher
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev python3-dev
ENV TRITON_LIBCUDA_PATH=/opt/triton/stub
COPY weakpoints/engine/triton_cache.py ./
RUN /venv/bin/python triton_cache.py /opt/triton/prebuilt

FROM python:3.12-slim-trixie AS wheel
WORKDIR /srv
COPY constraints.txt ./
RUN python -m venv /tools \
 && /tools/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY model_weights model_weights
COPY benchmarks/results benchmarks/results
RUN /tools/bin/python -m hatchling build --target wheel --directory /dist

FROM python:3.12-slim-trixie
COPY --from=build /venv /venv
COPY --from=launcher /opt/triton /opt/triton
COPY --from=wheel /dist /dist
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /dist/*.whl
WORKDIR /srv
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin weakpoints \
 && install --directory --owner=10001 model_weights/downloaded
USER 10001
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
  WEAKPOINTS_HOST=0.0.0.0 WEAKPOINTS_DOWNLOADS=/srv/model_weights/downloaded \
  TRITON_CACHE_MANAGER=weakpoints.engine.triton_cache:LayeredCache TRITON_CACHE_DIR=/tmp/triton \
  TRITON_PREBUILT_DIR=/opt/triton/prebuilt TRITON_LIBCUDA_PATH=/opt/triton/stub
EXPOSE 8000
# Without a proxy, whatever HTTP_PROXY says. A WEAKPOINTS_PORT of tcp://... is a service link and no port.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import http.client, os, re; port = re.fullmatch(r'\\W*(\\d+)\\W*', os.environ.get('WEAKPOINTS_PORT', '')); probe = http.client.HTTPConnection('127.0.0.1', int(port[1]) if port else 8000, timeout=4); probe.request('GET', '/livez'); raise SystemExit(probe.getresponse().status != 200)"]
CMD ["weakpoints", "serve"]
