# syntax=docker/dockerfile:1
# deploy/image/README.md says how to pin it by digest, and how to update it.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# /app has no pip, which the exporter does not need.
RUN python -m venv --without-pip /app && python -m venv /build && mkdir /state
COPY requirements.lock requirements-build.lock ./
RUN /build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock \
 && /build/bin/pip --python /app/bin/python install --no-compile \
    --require-hashes --only-binary :all: -r requirements.lock
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY exporter exporter
# What --version and the metric build_info report.
ARG REVISION=unknown
ARG BRANCH=unknown
# EXTRAS="[demo]" builds an image that supports --demo too. What that requires is not in the lock.
ARG EXTRAS=""
# Bytecode is not checked against the time stamps of the sources, which can change between the
# layer and a container: it would be ignored, and the exporter would take seconds longer to start.
RUN printf '{"revision": "%s", "branch": "%s"}\n' "$REVISION" "$BRANCH" > exporter/build.json \
 && /build/bin/hatchling build --target wheel --directory /dist \
 && /build/bin/pip --python /app/bin/python install --no-compile --no-deps --no-index /dist/*.whl \
 && if [ -n "$EXTRAS" ]; then /build/bin/pip --python /app/bin/python install --no-compile \
    --constraint constraints.txt "aws-iam-key-exporter$EXTRAS"; fi \
 && /app/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="aws-iam-key-exporter" \
      org.opencontainers.image.description="A Prometheus exporter that reports when each AWS IAM access key was last used, for which service and in which region" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.url="https://github.com/aws-iam-key-exporter/aws-iam-key-exporter" \
      org.opencontainers.image.source="https://github.com/aws-iam-key-exporter/aws-iam-key-exporter" \
      org.opencontainers.image.documentation="https://github.com/aws-iam-key-exporter/aws-iam-key-exporter#readme" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /app /app
# Nothing else is written (no bytecode, no home directory), so the root file system can be read-only.
COPY --from=build --chown=65534:65534 /state /var/lib/aws-iam-key-exporter
VOLUME ["/var/lib/aws-iam-key-exporter"]
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/nonexistent \
    STATE_DIRECTORY=/var/lib/aws-iam-key-exporter
# The health check asks this address, which has no TLS and no passwords whatever
# --web.listen-address and --web.config.file are.
ENV AWS_IAM_KEY_EXPORTER_WEB_PROBE_LISTEN_ADDRESS=127.0.0.1:10065
USER 65534:65534
EXPOSE 10064
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["/app/bin/python", "-IS", "-c", "import http.client, os, sys; host, _, port = os.environ['AWS_IAM_KEY_EXPORTER_WEB_PROBE_LISTEN_ADDRESS'].split(',')[0].rpartition(':'); c = http.client.HTTPConnection(host.strip(' []') or '127.0.0.1', int(port), timeout=4); c.request('GET', '/-/healthy'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["/app/bin/aws-iam-key-exporter"]
