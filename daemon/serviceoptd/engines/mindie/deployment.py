"""What MindIE's config.json says about the deployment: its address, its accelerators, its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, UnfitFile, content
from serviceopt_journal.foreign_text import json_value
from serviceoptd.engines.mindie.section import MODEL
from serviceoptd.toolkit import endpoint, provenance
from serviceoptd.toolkit.interface import HttpProbe

STATUS = "/v1/status"


@dataclass(frozen=True)
class Address:
    """Where the server of a config.json listens."""

    host: str
    port: int
    health: HttpProbe | None  # None: it speaks TLS, or no path is configured
    status: HttpProbe | None = None  # tells its KV blocks; None: it speaks TLS

    @classmethod
    def of(cls, document: Mapping[str, Any], environment: Mapping[str, str], health_path: str) -> Address | None:
        """The address that config.json gives; None: it gives no port.

        MIES_CONTAINER_IP and MIES_CONTAINER_MANAGEMENT_IP win, as in MindIE.
        """
        server = document.get("ServerConfig")
        if not isinstance(server, Mapping) or (port := _port(server.get("port"))) is None:
            return None
        host = environment.get("MIES_CONTAINER_IP") or str(server.get("ipAddress") or "127.0.0.1")
        inner = (
            environment.get("MIES_CONTAINER_MANAGEMENT_IP")
            or str(server.get("managementIpAddress") or "")
            or str(server.get("ipAddress") or "127.0.0.1")
        )
        inner_port = _port(server.get("managementPort")) or port
        if server.get("httpsEnabled") is not False:
            return cls(host, port, None)
        inner = endpoint.reachable(inner)
        health = HttpProbe(inner, inner_port, health_path) if health_path else None
        return cls(host, port, health, HttpProbe(inner, inner_port, STATUS))


def _port(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535 else None


def accelerators(document: Mapping[str, Any]) -> int:
    """NPUs that the service uses: those listed for each instance, else worldSize x instances; at least 1."""
    backend = document.get("BackendConfig")
    backend = backend if isinstance(backend, Mapping) else {}
    listed = backend.get("npuDeviceIds")
    if isinstance(listed, list) and (count := sum(len(group) for group in listed if isinstance(group, list))):
        return count
    instances = backend.get("modelInstanceNumber")
    return world_size(document) * (instances if isinstance(instances, int) and instances > 0 else 1)


def world_size(document: Mapping[str, Any]) -> int:
    """NPUs of one instance of the model; at least 1."""
    size = model_configuration(document).get("worldSize")
    return size if isinstance(size, int) and size > 0 else 1


def tensor_parallel(document: Mapping[str, Any]) -> int:
    """Over how many NPUs the KV heads are split: `tp`, else what data parallelism leaves of worldSize."""
    model = model_configuration(document)
    tp, dp = model.get("tp"), model.get("dp")
    if isinstance(tp, int) and tp > 0:
        return tp
    return max(1, world_size(document) // (dp if isinstance(dp, int) and dp > 0 else 1))


def model_configuration(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first entry of ModelConfig; empty where there is none."""
    value: Any = document
    for step in MODEL.split(".")[:-1]:
        value = value.get(step) if isinstance(value, Mapping) else None
    first = value[0] if isinstance(value, list) and value else None
    return first if isinstance(first, Mapping) else {}


def weights_path(document: Mapping[str, Any]) -> str:
    """Where the model lies; empty where config.json does not say."""
    return str(model_configuration(document).get("modelWeightPath") or "")


def read_model(directory: Path) -> tuple[Mapping[str, Any], int]:
    """The model's own config.json, and the size of its weights in bytes; empty and 0 where they cannot be read."""
    try:
        model = json_value(content(directory / "config.json", LARGEST_CONFIGURATION, through_links=True))
        files = [entry for entry in directory.iterdir() if entry.suffix in provenance.WEIGHTS]
        size = sum(entry.stat().st_size for entry in files if entry.is_file())
    except (OSError, UnfitFile, ValueError):
        return {}, 0
    return (model if isinstance(model, Mapping) else {}), size
