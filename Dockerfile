# The receiver's image. The base needs python3 (3.11 or later) with venv, and nothing else:
# no package manager and no network but the Python package index is used.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/iot-receiver
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off
COPY requirements/service.txt /build/requirements.txt
# Both secrets may be left out: pip's settings, for an index of one's own, and the CAs that pip trusts,
# for a network whose proxy has a CA of its own (pip.conf: [global] cert = /etc/pip-ca.pem).
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=pip_ca,target=/etc/pip-ca.pem \
    /opt/iot-receiver/bin/pip install --require-hashes -r /build/requirements.txt
COPY service /build/service
# Without isolation: the package is built by the setuptools of the lock, and nothing more is downloaded.
RUN /opt/iot-receiver/bin/pip install --no-index --no-deps --no-build-isolation /build/service \
 && /opt/iot-receiver/bin/pip check \
 && /opt/iot-receiver/bin/python3 -m pip uninstall --yes --quiet setuptools pip \
 && python3 -m compileall -q /opt/iot-receiver/lib

FROM ${BASE_IMAGE}
COPY --from=build /opt/iot-receiver /opt/iot-receiver
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Nothing is written: the root file system can be read-only.
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/opt/iot-receiver/bin/iot-receiver"]
