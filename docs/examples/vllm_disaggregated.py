"""Starts vLLM with prefill and decode on instances of their own, behind a proxy; ends all of them on SIGTERM.

    python3 vllm_disaggregated.py --prefill 1 --decode 3 --devices 0,1,2,3 --port 8192 \\
        --proxy /opt/vllm/tests/v1/kv_connector/nixl_integration/toy_proxy_server.py -- vllm serve MODEL ...

The command after `--` is started once for each instance, with its port, its devices and its part in the transfer of the
KV cache added. When all of them answer GET /health the proxy is started, and clients use the proxy's port. One that ends
ends all: half a deployment would be measured as a slow one.

What an instance needs is vLLM's own documentation, "NixlConnector Usage Guide" (docs/features/nixl_connector_usage.md of
its repository): --kv-transfer-config, and a port of its own in VLLM_NIXL_SIDE_CHANNEL_PORT. The proxy is vLLM's
toy_proxy_server.py, or any program that takes the same options.

Standard library only, Python 3.11: it runs beside vLLM, in whatever environment that has.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Sequence

SIDE_CHANNELS = 16  # ports for each instance: one for each of its data-parallel ranks
GRACE = 20.0  # seconds from SIGTERM to SIGKILL
PAUSE = 0.05
OK = 200

Started = list[tuple[str, Process]]


class Failed(Exception):
    """The deployment cannot be started, or does not last; one line."""


async def run(options: argparse.Namespace) -> None:
    """Starts everything and returns when it was asked to end.

    Raises:
        Failed: something ended by itself, or was not ready in time.
    """
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    started: Started = []
    deploying = asyncio.ensure_future(deploy(options, started))
    stopping = asyncio.ensure_future(asked.wait())
    try:
        await asyncio.wait({deploying, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if deploying.done():
            deploying.result()
    finally:
        deploying.cancel()
        stopping.cancel()
        await asyncio.gather(deploying, stopping, return_exceptions=True)
        await end(started)


async def deploy(options: argparse.Namespace, started: Started) -> None:
    """Starts the instances, then the proxy, and waits for the first that ends."""
    roles = ["prefill"] * options.prefill + ["decode"] * options.decode
    ports = [options.first_port + index for index in range(len(roles))]
    for index, (role, port) in enumerate(zip(roles, ports, strict=True)):
        argv = [*options.command, *shlex.split(getattr(options, f"{role}_others"))]
        argv += ["--host", "127.0.0.1", "--port", str(port), "--kv-transfer-config", transfer(role, options)]
        environment = {
            options.device_variable: ",".join(devices_of(index, options)),
            "VLLM_NIXL_SIDE_CHANNEL_PORT": str(options.first_side_channel + SIDE_CHANNELS * index),
        }
        await start(f"{role} instance on port {port}", argv, environment, started)
    await unless_one_ends(started, healthy(ports, options.start_timeout))
    addresses = {"prefiller": ports[: options.prefill], "decoder": ports[options.prefill :]}
    words = [options.proxy_python, options.proxy, "--host", options.host, "--port", str(options.port)]
    for name, theirs in addresses.items():
        words += [f"--{name}-hosts", *["127.0.0.1"] * len(theirs), f"--{name}-ports", *map(str, theirs)]
    await start("proxy", words, {}, started)
    await unless_one_ends(started, asyncio.Event().wait())


def transfer(role: str, options: argparse.Namespace) -> str:
    """The instance's part in the transfer of the KV cache. NixlConnector does the same for each role; others do not."""
    part = {"prefill": "kv_producer", "decode": "kv_consumer"}[role]
    return json.dumps({"kv_connector": options.connector, "kv_role": part, "kv_load_failure_policy": "fail"})


def devices_of(index: int, options: argparse.Namespace) -> list[str]:
    """The accelerators of one instance.

    Raises:
        Failed: there are not enough of them.
    """
    devices: list[str] = options.devices.split(",")
    each: int = options.devices_each
    needed = (options.prefill + options.decode) * each
    if needed > len(devices):
        raise Failed(f"{needed} devices are needed, and --devices has {len(devices)}")
    return devices[index * each : (index + 1) * each]


async def start(name: str, argv: Sequence[str], environment: dict[str, str], started: Started) -> None:
    """Starts one program; it prints where we print."""
    try:
        process = await asyncio.create_subprocess_exec(*argv, env={**os.environ, **environment})
    except OSError as error:
        raise Failed(f"{name}: {argv[0]} cannot be started: {error.strerror}") from error
    started.append((name, process))


async def unless_one_ends(started: Started, awaited: object) -> None:
    """Waits for it.

    Raises:
        Failed: a program ended before.
    """
    waiting = asyncio.ensure_future(awaited)  # type: ignore[call-overload]
    ends = {asyncio.ensure_future(process.wait()): name for name, process in started}
    try:
        done, _ = await asyncio.wait({waiting, *ends}, return_when=asyncio.FIRST_COMPLETED)
        for end_of in done & ends.keys():
            raise Failed(f"{ends[end_of]} ended with status {end_of.result()}")
        waiting.result()
    finally:
        for task in (waiting, *ends):
            task.cancel()
        await asyncio.gather(waiting, *ends, return_exceptions=True)


async def healthy(ports: Sequence[int], limit: float) -> None:
    """Returns when every instance answers GET /health with 200."""
    begun = time.monotonic()
    for port in ports:
        while await status_of(port) != OK:
            if time.monotonic() - begun > limit:
                raise Failed(f"the instance on port {port} was not ready within {limit:g} s")
            await asyncio.sleep(PAUSE)


async def status_of(port: int) -> int | None:
    """The status that GET /health answers with; None: nobody answers."""
    with contextlib.suppress(OSError, EOFError, ValueError, TimeoutError):
        async with asyncio.timeout(5.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
                return int((await reader.readuntil(b"\n")).split()[1])
            finally:
                writer.close()
    return None


async def end(started: Started) -> None:
    """Ends what lives, the proxy first, so that no client is sent to an instance that is gone."""
    for _, process in reversed(started):
        if process.returncode is None:
            process.terminate()
    await asyncio.gather(*(end_in_time(process) for _, process in started))


async def end_in_time(process: Process) -> None:
    """Waits for its end, and kills it after GRACE seconds."""
    try:
        await asyncio.wait_for(process.wait(), GRACE)
    except TimeoutError:
        process.kill()
        await process.wait()


def read(given: Sequence[str]) -> argparse.Namespace:
    """The options."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    options.add_argument("--prefill", type=int, required=True, help="instances that prefill")
    options.add_argument("--decode", type=int, required=True, help="instances that decode")
    options.add_argument("--prefill-others", default="", help="more words of those that prefill, in one argument")
    options.add_argument("--decode-others", default="", help="more words of those that decode, in one argument")
    options.add_argument("--devices", required=True, help="accelerators, separated by commas")
    options.add_argument("--devices-each", type=int, default=1, help="accelerators of one instance (its tp x pp x dp)")
    options.add_argument("--device-variable", default="CUDA_VISIBLE_DEVICES", help="or ASCEND_RT_VISIBLE_DEVICES")
    options.add_argument("--host", default="127.0.0.1", help="where the proxy listens")
    options.add_argument("--port", type=int, required=True, help="of the proxy")
    options.add_argument("--proxy", required=True, help="path of the proxy's program")
    options.add_argument("--proxy-python", default=sys.executable, help="the interpreter with the proxy's packages")
    options.add_argument("--first-port", type=int, default=8100, help="of the first instance; the others follow")
    options.add_argument("--first-side-channel", type=int, default=5600)
    options.add_argument("--connector", default="NixlConnector")
    options.add_argument("--start-timeout", type=float, default=1800.0, help="seconds until every instance is healthy")
    options.add_argument("command", nargs="+", help="-- vllm serve MODEL and its options")
    return options.parse_args(given)


def main() -> int:
    """The program; its exit status."""
    try:
        asyncio.run(run(read(sys.argv[1:])))
    except Failed as failure:
        print(f"vllm_disaggregated: {failure}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
