# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /src
# EXTRAS="[demo,postgres]" builds an image that supports --demo too.
ARG EXTRAS="[postgres]"
RUN python -m venv /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY exporter exporter
# What --version and the metric build_info report.
ARG REVISION=unknown
ARG BRANCH=unknown
RUN printf '{"revision": "%s", "branch": "%s"}\n' "$REVISION" "$BRANCH" > exporter/build.json
RUN /app/bin/pip install --no-cache-dir --constraint constraints.txt ".${EXTRAS}" \
 && /app/bin/pip uninstall --yes pip \
 && mkdir /state

FROM python:3.13-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="aws-iam-key-exporter" \
      org.opencontainers.image.description="A Prometheus exporter that reports when each AWS IAM access key was last used, for which service and in which region" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="https://github.com/aws-iam-key-exporter/aws-iam-key-exporter" \
      org.opencontainers.image.documentation="https://github.com/aws-iam-key-exporter/aws-iam-key-exporter#readme" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /app /app
# Nothing else is written (no bytecode, no home directory), so the root file system can be read-only.
COPY --from=build --chown=65534:65534 /state /var/lib/aws-iam-key-exporter
VOLUME ["/var/lib/aws-iam-key-exporter"]
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/nonexistent \
    STATE_DIRECTORY=/var/lib/aws-iam-key-exporter
USER 65534:65534
EXPOSE 10064
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["/app/bin/python", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 10064, timeout=4); c.request('GET', '/-/healthy'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["/app/bin/aws-iam-key-exporter"]
