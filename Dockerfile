# syntax=docker/dockerfile:1
# What the image promises, how to run it and what of that was tried: docs/container.md.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# /opt/venv goes into the image, the others and the wheels stay behind.
RUN python -m venv /opt/build && python -m venv /opt/audit && python -m venv /opt/venv
COPY requirements requirements
# Every package that runs here or in the image is checked against a hash. pip's build isolation would fetch the newest
# build backends unchecked, so it is off, and the backends have a lock of their own.
# A secret `pip.conf` says where to install from, if that is not the default index; it is in no layer.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/build/bin/pip install --require-hashes --requirement requirements/build.txt \
    && /opt/audit/bin/pip install --require-hashes --requirement requirements/audit.txt \
    && /opt/build/bin/pip wheel --require-hashes --no-build-isolation --wheel-dir /wheels \
        --requirement requirements/server.txt
COPY pyproject.toml README.md LICENSE ./
COPY clients/python clients/python
COPY server server
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/venv/bin/pip install --no-index --find-links /wheels 'workflowstore[server]' \
    && /opt/venv/bin/pip check \
    && /opt/venv/bin/pip uninstall --yes pip setuptools
# The bill of materials: the Python packages with their versions and licences. Those of the base image are its maker's.
RUN mkdir -p /opt/venv/share/workflowstore \
    && /opt/audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
        --output-file /opt/venv/share/workflowstore/sbom.cdx.json /opt/venv/bin/python

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="workflowstore" \
      org.opencontainers.image.description="Durable workflow state over gRPC, kept in NATS JetStream KV" \
      org.opencontainers.image.licenses="Apache-2.0"
# A new volume takes owner and mode from the directory it covers.
RUN groupadd --gid 10001 workflowstore \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /var/lib/workflowstore \
       --shell /usr/sbin/nologin workflowstore \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/workflowstore
COPY --from=build /opt/venv /opt/venv
# Nobody outside reaches a container's loopback, so the server listens on all its interfaces. It refuses that until it is
# told of a certificate and of how clients say who they are, or that it is to do without: which of them is not for an image
# to decide.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    WORKFLOWSTORE_LISTEN=0.0.0.0:50051 \
    WORKFLOWSTORE_DATA_DIR=/var/lib/workflowstore/data
USER 10001:10001
WORKDIR /var/lib/workflowstore
VOLUME /var/lib/workflowstore
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["workflowstore", "health", "--timeout", "4"]
ENTRYPOINT ["workflowstore"]
CMD ["serve"]
