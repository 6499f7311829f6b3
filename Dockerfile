# One image for workers, scheduler and admin; docker-compose.yml has the command of each.
# Named by digest, as in docker-compose.yml; docs/deployment.md says how to update it.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
RUN python -m venv /opt/build && python -m venv --without-pip /opt/nomad
COPY requirements-build.lock requirements-image.lock setup.cfg pyproject.toml README.md LICENSE ./
COPY nomad_actors nomad_actors
COPY admin admin
# Build tools stay in this stage. pip checks the hash of every file; the wheel of this package is built offline.
RUN /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
    && /opt/build/bin/pip --python /opt/nomad/bin/python install --no-cache-dir --require-hashes \
        -r requirements-image.lock \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /build/wheels . \
    && /opt/build/bin/pip --python /opt/nomad/bin/python install --no-index --no-deps /build/wheels/*.whl

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --home-dir /var/lib/nomad --create-home nomad
COPY --from=build /opt/nomad /opt/nomad
ENV PATH=/opt/nomad/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NOMAD_VAR_DIR=/var/lib/nomad
USER nomad
WORKDIR /var/lib/nomad
EXPOSE 3000 9191 9192
CMD ["nomad", "--help"]
