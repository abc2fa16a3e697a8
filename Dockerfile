# One image for the worker, the operator and the API; the command says which it is.
#
# Plain enough for BuildKit, buildah and docker's classic builder alike: nothing is fetched but BASE and the packages of
# requirements/runtime.txt. Pin the base by its digest wherever the registry is at hand:
#   --build-arg BASE=python:3.13-slim-trixie@sha256:...
# Another base needs python3 with venv, of a version that pyproject.toml supports. The same inputs give the same image
# with `buildah build --timestamp N`, or with SOURCE_DATE_EPOCH and BuildKit's `rewrite-timestamp=true`.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS builder
# pip stays outside of what is shipped. The .pth makes `app` importable from everywhere, whatever PYTHONPATH says.
RUN python3 -m venv /build/pip \
 && python3 -m venv --without-pip /opt/fleet \
 && echo /srv/fleet >"$(/opt/fleet/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/fleet.pth" \
 && printf '%s\n' '#!/opt/fleet/bin/python' 'from app.cli import main' 'main()' >/opt/fleet/bin/fleet \
 && chmod 755 /opt/fleet/bin/fleet
COPY requirements/runtime.txt /build/runtime.txt
# Bytecode of the kind "unchecked-hash" holds no times (the same bytes at each build), and no source is looked at.
RUN /build/pip/bin/pip --python /opt/fleet/bin/python install --require-hashes --only-binary=:all: --no-compile \
      --no-cache-dir --disable-pip-version-check --root-user-action=ignore -r /build/runtime.txt \
 && /opt/fleet/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/fleet/lib
COPY config.yaml /srv/fleet/config.yaml
COPY app /srv/fleet/app
# The modes of a checkout depend on its user's umask.
RUN chmod -R u=rwX,go=rX /srv/fleet \
 && /opt/fleet/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /srv/fleet

FROM ${BASE} AS runtime
# Slim images come without the standard library's bytecode; with a read-only root each start would compile it anew, which
# is more than half of a cold start. -f: bytecode that holds times is stale as soon as a layer's times are set.
RUN python3 -m compileall -q -f -j 0 --invalidation-mode unchecked-hash \
      -x '/(ensurepip|idlelib|turtledemo|test|site-packages|dist-packages)/' \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
# The big layer changes with the requirements alone, the small one with the code.
COPY --from=builder /opt/fleet /opt/fleet
COPY --from=builder /srv/fleet /srv/fleet
# The root may be read-only: whatever writes, writes to /tmp, which is then a volume.
ENV PATH=/opt/fleet/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/fleet
# Numbers: Kubernetes can't judge by a name whether it is root.
USER 10001:10001
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="worker-fleet" \
      org.opencontainers.image.description="Worker Fleet for Temporal: worker, operator and API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# No init in here. As process 1 Python loses a SIGTERM that comes before it has a handler, some 50 ms of CPU after its
# start: pods share their process namespace (the chart sees to it), docker wants `run --init`.
CMD ["python", "-m", "app.worker.main", "serve"]
