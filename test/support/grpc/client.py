"""
What the gRPC tests ask of a service, in Python; client.ts asks the same in grpc-js. Arguments: `host:port`, and `stop` to
end the server during a call. Prints a line per case, `ok NAME` or `failed NAME: WHY`.
"""
import os
import queue
import sys
import time
from concurrent import futures

import grpc

address, mode = sys.argv[1], sys.argv[2:]
limits = [("grpc.max_receive_message_length", 16 << 20)]
channel = grpc.insecure_channel(address, options=limits)
limit = 15


def unary(name, over=channel):
    return over.unary_unary(f"/mesh.test.Interop/{name}")


def chat(messages, over=channel):
    return over.stream_stream("/mesh.test.Interop/Chat")(messages, timeout=30)


def collect(messages):
    return channel.stream_unary("/mesh.test.Interop/Collect")(messages, timeout=limit)


def repeat(count):
    return [len(one) for one in channel.unary_stream("/mesh.test.Interop/Repeat")(str(count).encode(), timeout=limit)]


def equal(found, expected):
    assert found == expected, f"{found!r}, not {expected!r}"


def failure(call):
    """The error that a call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it did not fail")


class Chat:
    """A call that both sides speak in turn."""

    def __init__(self, over=channel):
        self.messages = queue.Queue()
        self.call = chat(iter(self.messages.get, None), over)

    def ping_pong(self, count):
        for i in range(count):
            message = f"ping {i}".encode()
            self.messages.put(message)
            equal(next(self.call), message)

    def end(self):
        self.messages.put(None)
        equal(list(self.call), [])
        equal(self.call.code(), grpc.StatusCode.OK)


def cancels(cancel):
    """The server hears of one more cancel."""

    def count():
        return int(unary("Cancelled")(b"", timeout=limit))

    before = count()
    equal(cancel(), grpc.StatusCode.CANCELLED)
    for _ in range(200):
        if count() > before:
            return
        time.sleep(0.02)
    raise AssertionError("the server heard of no cancel")


large = os.urandom(700_000) + b"a" * 700_000


def echoes(message, name="Unary", **more):
    assert unary(name)(message, timeout=limit, **more) == message, "another message"


def client_streaming():
    equal(collect(bytes(i * 10) for i in range(200)), b"200 199000")


def ping_pong():
    call = Chat()
    call.ping_pong(200)
    call.end()


def both_ways():
    sizes = [len(one) for one in chat(bytes([i]) * 65_536 for i in range(100))]
    equal(sum(sizes), 100 * 65_536)


def cancel_after_begin():
    call = unary("Sleep").future(b"", timeout=limit)
    time.sleep(0.2)
    call.cancel()
    return call.code()


def cancel_after_response():
    call = Chat()
    call.ping_pong(1)
    call.call.cancel()
    return call.call.code()


def deadline_exceeded():
    equal(failure(lambda: unary("Sleep")(b"", timeout=0.3)).code(), grpc.StatusCode.DEADLINE_EXCEEDED)


def codes_and_messages():
    for code in grpc.StatusCode:
        for text in ("plain", "möglich: 100 % ✓\nund weiter", ""):
            if code == grpc.StatusCode.OK:
                continue
            error = failure(lambda: unary("Fail")(f"{code.value[0]} {text}".encode(), timeout=limit))
            equal((error.code(), error.details()), (code, text))
            reasons = [value for key, value in error.trailing_metadata() if key == "x-reason-bin"]
            equal(reasons, [bytes([0, 255, 10])])


def unimplemented_service():
    error = failure(lambda: channel.unary_unary("/mesh.test.Nowhere/Absent")(b"", timeout=limit))
    equal(error.code(), grpc.StatusCode.UNIMPLEMENTED)


def metadata():
    sent = [("x-echo", "one"), ("x-echo", "two, three"), ("x-echo-bin", b"\0\xff"), ("x-echo-bin", b"zwei")]
    _, call = unary("Unary").with_call(b"", timeout=limit, metadata=sent)
    for end in (call.initial_metadata(), call.trailing_metadata()):
        equal(", ".join(value for key, value in end if key == "x-echo"), "one, two, three")
        equal([value for key, value in end if key == "x-echo-bin"], [b"\0\xff", b"zwei"])


def large_metadata():
    _, call = unary("Unary").with_call(b"", timeout=limit, metadata=[("x-echo", "m" * 3_000)])
    equal([len(value) for key, value in call.initial_metadata() if key == "x-echo"], [3_000])


def early_status():
    def messages():
        yield b"refuse"
        for _ in range(200):
            yield bytes(10_000)

    equal(failure(lambda: collect(messages())).code(), grpc.StatusCode.PERMISSION_DENIED)


def more_calls_than_streams():
    calls = [unary("Unary").future(str(i).encode(), timeout=limit) for i in range(400)]
    equal([int(call.result()) for call in calls], list(range(400)))


def keepalive_pings():
    options = [
        ("grpc.keepalive_time_ms", 500),
        ("grpc.keepalive_timeout_ms", 400),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with grpc.insecure_channel(address, options=options) as pinging:
        call = Chat(pinging)
        call.ping_pong(1)
        time.sleep(2)
        call.ping_pong(1)
        call.end()


def goaway_while_streaming():
    call = Chat()
    call.ping_pong(1)
    unary("Stop")(b"", timeout=limit)
    for _ in range(10):
        time.sleep(0.03)
        call.ping_pong(1)
    call.end()
    for _ in range(200):
        try:
            return echoes(b"")
        except grpc.RpcError:
            time.sleep(0.05)
    raise AssertionError("the server that comes after it is not found")


cases = {
    "empty unary": lambda: echoes(b""),
    "large unary": lambda: echoes(large),
    "compressed request": lambda: echoes(large, compression=grpc.Compression.Gzip),
    "compressed response": lambda: echoes(large, "Compressed"),
    "client streaming": client_streaming,
    "client streaming of nothing": lambda: equal(collect(iter(())), b"0 0"),
    "server streaming": lambda: equal(repeat(500), [7 * i for i in range(500)]),
    "server streaming of nothing": lambda: equal(repeat(0), []),
    "ping-pong": ping_pong,
    "both ways at once": both_ways,
    "cancel after begin": lambda: cancels(cancel_after_begin),
    "cancel after the first response": lambda: cancels(cancel_after_response),
    "deadline exceeded": deadline_exceeded,
    "codes and messages": codes_and_messages,
    "unimplemented method": lambda: equal(
        failure(lambda: unary("Absent")(b"", timeout=limit)).code(), grpc.StatusCode.UNIMPLEMENTED
    ),
    "unimplemented service": unimplemented_service,
    "metadata": metadata,
    "large metadata": large_metadata,
    "a status ahead of the request’s end": early_status,
    "more calls than streams": more_calls_than_streams,
    "keepalive pings": keepalive_pings,
}
if mode == ["stop"]:
    cases = {"GOAWAY while streaming": goaway_while_streaming}


def run(name):
    try:
        cases[name]()
    except Exception as error:
        return f"failed {name}: {error!r}"
    return f"ok {name}"


with futures.ThreadPoolExecutor(len(cases)) as pool:
    for line in pool.map(run, cases):
        print(line, flush=True)
