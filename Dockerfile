# One image for workers, scheduler and admin; docker-compose.yml says which of them a container is.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/nomad
COPY requirements.lock setup.cfg pyproject.toml README.md LICENSE ./
COPY nomad_actors nomad_actors
COPY admin admin
# The lock holds the tests' packages too: as constraints, it gives versions and installs nothing by itself.
RUN /opt/nomad/bin/pip install --no-cache-dir --constraint requirements.lock ".[postgres]"

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/nomad --create-home nomad
COPY --from=build /opt/nomad /opt/nomad
ENV PATH=/opt/nomad/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NOMAD_VAR_DIR=/var/lib/nomad
USER nomad
WORKDIR /var/lib/nomad
EXPOSE 3000 9191 9192
CMD ["nomad", "--help"]
