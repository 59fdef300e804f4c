# The service, without torch. /model is an export:
#
#     docker build --tag emotion-service .
#     docker run --publish 127.0.0.1:8000:8000 --volume "$PWD/my-classifier/onnx:/model:ro" emotion-service
FROM python:3.13-slim

WORKDIR /src
COPY constraints.txt docker/requirements.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY emotion_tutorial emotion_tutorial
RUN pip install --no-cache-dir --no-deps .

# Else onnxruntime reports its use to its maker, since version 1.29.
ENV ORT_DISABLE_TELEMETRY=1
# A number, so that Kubernetes sees that it is not root. The user owns nothing, and the service writes nothing.
USER 10001:10001
WORKDIR /
EXPOSE 8000
HEALTHCHECK --start-period=30s --timeout=5s \
  CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["python", "-m", "emotion_tutorial", "serve", "/model", "--host", "0.0.0.0"]
