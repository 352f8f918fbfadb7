# docker build --tag oahier .
# docker run --rm --gpus all --shm-size 8g --volume "$PWD:/work" oahier fit --config own_data.yaml
FROM python:3.11-slim
COPY pyproject.toml README.md LICENSE /src/
COPY oahier /src/oahier
RUN pip install --no-cache-dir /src && rm -r /src
WORKDIR /work
ENTRYPOINT ["oahier"]
CMD ["--help"]
