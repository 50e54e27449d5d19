# The receiver's image. The base needs python3 (3.11 or later) with venv, and nothing else:
# no package manager and no network but the Python package index is used.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/iot-receiver
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements/service.txt /build/requirements.txt
# The secret pip_conf is for people with an index of their own; the build does without it, too.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/iot-receiver/bin/pip install --require-hashes --only-binary=:all: -r /build/requirements.txt
COPY service /build/service
# setuptools is the venv's or the lock's (hence no isolation); neither it nor pip is needed at run time.
RUN /opt/iot-receiver/bin/pip install --no-index --no-deps --no-build-isolation /build/service \
 && /opt/iot-receiver/bin/pip uninstall --yes --quiet setuptools pip \
 && python3 -m compileall -q /opt/iot-receiver/lib

FROM ${BASE_IMAGE}
COPY --from=build /opt/iot-receiver /opt/iot-receiver
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Files are opened read-only and nothing is written: the root file system can be read-only.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/iot-receiver/bin/iot-receiver"]
