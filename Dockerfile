# One image for all: `carnet users`, `carnet orders`, `carnet gateway`, `carnet console`.
# Needs no BuildKit. Where packages come from another index: --build-arg PIP_INDEX_URL=…

ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/build && python -m venv --without-pip /opt/carnet
COPY requirements/ requirements/
RUN /opt/build/bin/pip install --quiet --require-hashes -r requirements/build.txt
RUN /opt/build/bin/pip --python /opt/carnet/bin/python install --quiet --require-hashes \
        -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY auth/ auth/
COPY messaging/ messaging/
COPY services/ services/
RUN /opt/build/bin/hatchling build -t wheel \
    && /opt/build/bin/pip --python /opt/carnet/bin/python install --quiet --no-deps dist/*.whl

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent carnet \
    && install -d -o carnet -g carnet -m 0700 /var/lib/carnet
COPY --from=build /opt/carnet /opt/carnet
ENV PATH=/opt/carnet/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["carnet"]
CMD ["--help"]
