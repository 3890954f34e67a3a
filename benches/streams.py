"""What it costs to decide open streams anew: 10,000 streams of server-sent events through `cedargate`, and writes that move
the snapshot while they are open. Prints Markdown; ends with 1 if a bar is missed.

    python3 benches/streams.py target/release/cedargate [COUNT]
"""

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

GATEWAY, ADMIN, BACK = 18480, 18481, 18482
PASSWORD = "Streams-Bench-1"
ROUNDS = 20
# Writes of a round; each may have all of them decided once.
WRITES_EACH = 3
# Milliseconds of CPU to decide all of them anew, and until all are closed.
CPU, CLOSED = 100, 1000


def call(method, path, body=None, token=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(f"http://127.0.0.1:{ADMIN}/api/v1{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def metric(name):
    with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + " ", name + "{")))


def watching(pid):
    """CPU of the threads that look after what is open, in milliseconds; the kernel counts it in nanoseconds."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as name, open(f"/proc/{pid}/task/{task}/schedstat") as stat:
            if name.read().strip() == "gateway-watch":
                total += int(stat.read().split()[0])
    return total / 1e6


async def back(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        await reader.read()
    except ConnectionError:
        pass
    writer.close()


async def stream(address, token, ready):
    reader, writer = await asyncio.open_connection("127.0.0.1", GATEWAY, local_addr=(address, 0))
    writer.write(f"GET /feed/all HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    ready.release()
    try:
        assert await reader.read() == b"", "the answer has ended"
    except ConnectionError:
        pass
    ended = time.monotonic()
    writer.close()
    return ended


async def measure(pid, count):
    server = await asyncio.start_server(back, "127.0.0.1", BACK, backlog=4096)
    aside = asyncio.to_thread
    admin = (await aside(call, "POST", "/auth/login", {"username": "superadmin", "password": PASSWORD}))["access_token"]
    tokens = []
    for number in range(20):
        name = f"stream{number}"
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        made = await aside(call, "POST", "/users/", body, admin)
        await aside(call, "POST", f"/users/{made['id']}/roles/3", None, admin)
        tokens.append((await aside(call, "POST", "/auth/login", body))["access_token"])
    target = {"name": "back", "targets": [{"address": f"127.0.0.1:{BACK}"}], "timeouts": {"read_ms": 600000, "total_ms": 600000}}
    await aside(call, "POST", "/upstreams/", target, admin)
    module = await aside(call, "POST", "/modules/", {"name": "bench", "label": "Bench"}, admin)
    permission = await aside(call, "POST", "/permissions/", {"name": "feed:read", "resource": "feed", "action": "read"}, admin)
    grant = f"/roles/3/permissions/{permission['id']}"
    await aside(call, "POST", grant, None, admin)
    operations = [{"methods": ["GET"], "access": "permission", "permission": "feed:read"}]
    route = {"route": "/feed/{*rest}", "label": "Feed", "module_id": module["id"], "upstream": "back", "operations": operations}
    await aside(call, "POST", "/routes/", route, admin)

    ready, streams = asyncio.Semaphore(0), []
    for number in range(count):
        address = f"127.0.1.{1 + number % 8}"
        streams.append(asyncio.create_task(stream(address, tokens[number % len(tokens)], ready)))
        if number % 100 == 99:
            for _ in range(100):
                await ready.acquire()
    await asyncio.sleep(2)
    assert await aside(metric, "cedargate_open_streams") == count
    before = watching(pid)
    await asyncio.sleep(2)
    idle = (watching(pid) - before) / 2
    costs = []
    for number in range(ROUNDS):
        before = watching(pid)
        await aside(call, "PUT", f"/permissions/{permission['id']}", {"description": f"write {number}", "is_active": True}, admin)
        made = await aside(call, "POST", "/roles/", {"name": f"role{number}", "description": "moves the rules"}, admin)
        await aside(call, "POST", f"/roles/{made['id']}/permissions/{permission['id']}", None, admin)
        await asyncio.sleep(1)
        costs.append(watching(pid) - before - idle)
    assert await aside(metric, "cedargate_open_streams") == count
    await aside(call, "DELETE", grant, None, admin)
    written = time.monotonic()
    ends = [(end - written) * 1e3 for end in await asyncio.gather(*streams)]
    server.close()
    return idle, costs, ends


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Two open files each, here and in the gateway.
    count = min(count, (most - 1_000) // 2)
    with tempfile.TemporaryDirectory() as data:
        environment = {
            **os.environ,
            "CEDARGATE_GATEWAY__LISTEN": f"127.0.0.1:{GATEWAY}",
            "CEDARGATE_ADMIN__LISTEN": f"127.0.0.1:{ADMIN}",
            "CEDARGATE_AUTH__SECRET_KEY": "bench-bench-bench-bench-bench-bench-bench-4848",
            "CEDARGATE_BOOTSTRAP_PASSWORD": PASSWORD,
            "CEDARGATE_RATE_LIMIT__ENABLED": "false",
            "CEDARGATE_ACCESS_LOG__ENABLED": "false",
            "CEDARGATE_AUTH__ARGON2_MEMORY_KIB": "1024",
            "CEDARGATE_AUTH__ARGON2_ITERATIONS": "1",
        }
        with open(os.path.join(data, "log"), "wb") as log:
            process = subprocess.Popen([program, "--data-dir", data, "serve"], env=environment, stdout=log, stderr=log)
        try:
            for _ in range(300):
                try:
                    metric("cedargate_build_info")
                    break
                except OSError:
                    time.sleep(0.1)
            idle, costs, ends = asyncio.run(measure(process.pid, count))
        finally:
            process.terminate()
            process.wait()
    # For 10,000, and for one write.
    costs = [cost / WRITES_EACH * 10_000 / count for cost in costs]
    cost, last = statistics.median(costs), max(ends)
    print("| | measured | bar | |\n|---|---|---|---|")
    print(f"| open streams | {count} | | |")
    print(f"| CPU to look at them while nothing is written, ms a second | {idle:.1f} | | |")
    print(f"| CPU to decide 10,000 anew after a write, ms: median (most) | {cost:.1f} ({max(costs):.1f}) | {CPU} | {'met' if cost <= CPU else '**missed**'} |")
    print(f"| grant withdrawn to the first and the last one closed, ms | {min(ends):.0f}, {last:.0f} | {CLOSED} | {'met' if last <= CLOSED else '**missed**'} |")
    sys.exit(cost > CPU or last > CLOSED)


main()
