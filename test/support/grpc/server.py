"""The service of the gRPC tests; server.ts is the same in grpc-js. Argument: the port."""
import sys
import threading
from concurrent import futures

import grpc

cancelled = 0
lock = threading.Lock()
stopping = threading.Event()


def count_cancel(context, over):
    def ended():
        global cancelled
        if not over.is_set():
            with lock:
                cancelled += 1
        over.set()

    context.add_callback(ended)


def unary(request, context):
    echoed = tuple((k, v) for k, v in context.invocation_metadata() if k in ("x-echo", "x-echo-bin"))
    context.send_initial_metadata(echoed)
    context.set_trailing_metadata(echoed)
    return request


def compressed(request, context):
    context.set_compression(grpc.Compression.Gzip)
    return request


def fail(request, context):
    code, _, text = request.decode().partition(" ")
    context.set_trailing_metadata((("x-reason-bin", bytes([0, 255, 10])),))
    context.abort(next(one for one in grpc.StatusCode if one.value[0] == int(code)), text)


def sleep(request, context):
    over = threading.Event()
    count_cancel(context, over)
    over.wait(60)
    return b""


def collect(requests, context):
    messages = size = 0
    for message in requests:
        if message == b"refuse":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "refused")
        messages += 1
        size += len(message)
    return f"{messages} {size}".encode()


def repeat(request, context):
    for i in range(int(request)):
        yield b"r" * (7 * i)


def chat(requests, context):
    over = threading.Event()
    count_cancel(context, over)
    yield from requests
    over.set()


def stop(request, context):
    stopping.set()
    return b""


one, many = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(64), options=[("grpc.max_receive_message_length", 16 << 20)])
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "mesh.test.Interop",
                {
                    "Unary": one(unary),
                    "Compressed": one(compressed),
                    "Fail": one(fail),
                    "Sleep": one(sleep),
                    "Cancelled": one(lambda request, context: str(cancelled).encode()),
                    "Stop": one(stop),
                    "Collect": grpc.stream_unary_rpc_method_handler(collect),
                    "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
                    "Chat": many(chat),
                },
            ),
        )
    )
    server.add_insecure_port(f"0.0.0.0:{sys.argv[1]}")
    server.start()
    return server


while True:
    server = serve()
    stopping.wait()
    stopping.clear()
    # GOAWAY; what has begun goes on, and then another server begins.
    server.stop(20).wait()
