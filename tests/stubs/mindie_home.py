"""An installation of MindIE for tests: its directory, its configuration as the real one ships it, a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

DAEMON = Path(__file__).with_name("mindie") / "mindieservice_daemon"

CONFIGURATION = """{
    "Version" : "1.0.0",
    "LogConfig" :
    {
        "dynamicLogLevel" : "",
        "dynamicLogLevelValidHours" : 2
    },
    "ServerConfig" :
    {
        "ipAddress" : "127.0.0.1",
        "managementIpAddress" : "127.0.0.1",
        "port" : PORT,
        "managementPort" : MANAGEMENT,
        "metricsPort" : 1027,
        "allowAllZeroIpListening" : false,
        "maxLinkNum" : 1000,
        "httpsEnabled" : false,
        "tlsCaFile" : ["ca.pem"],
        "inferMode" : "standard"
    },
    "BackendConfig" : {
        "backendName" : "mindieservice_llm_engine",
        "modelInstanceNumber" : 1,
        "npuDeviceIds" : [[0,1]],
        "tokenizerProcessNumber" : 8,
        "ModelDeployConfig" :
        {
            "maxSeqLen" : 2560,
            "maxInputTokenLen" : 2048,
            "truncation" : false,
            "ModelConfig" : [
                {
                    "modelInstanceType" : "Standard",
                    "modelName" : "llama3-8b",
                    "modelWeightPath" : "MODEL",
                    "worldSize" : 2,
                    "cpuMemSize" : 5,
                    "npuMemSize" : -1,
                    "backendType" : "atb",
                    "trustRemoteCode" : false
                }
            ]
        },
        "ScheduleConfig" :
        {
            "templateType" : "Standard",
            "templateName" : "Standard_LLM",
            "cacheBlockSize" : 128,

            "maxPrefillBatchSize" : 50,
            "maxPrefillTokens" : 8192,
            "prefillTimeMsPerReq" : 150,
            "prefillPolicyType" : 0,

            "decodeTimeMsPerReq" : 50,
            "decodePolicyType" : 0,

            "maxBatchSize" : 200,
            "maxIterTimes" : 512,
            "maxPreemptCount" : 0,
            "supportSelectBatch" : false,
            "maxQueueDelayMicroseconds" : 5000
        }
    }
}
"""
"""In the layout of the file that MindIE installs: no JSON writer gives it back byte for byte."""

MODEL: dict[str, Any] = {
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
}
"""Llama 3 8B's own."""


def a_model(directory: Path, weights: int = 1024, **changes: Any) -> Path:
    """A model's directory with `weights` bytes of weights."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**MODEL, **changes}))
    with (directory / "model.safetensors").open("wb") as file:
        file.truncate(weights)
    return directory


def a_configuration(model: Path, port: int = 1025, management: int = 1026) -> str:
    """The text of a config.json."""
    text = CONFIGURATION.replace("MODEL", str(model))
    return text.replace("PORT", str(port)).replace("MANAGEMENT", str(management))


def a_mindie(root: Path, port: int = 1025, management: int = 1026, **model: Any) -> Path:
    """`mindie-service` with its daemon, version and configuration; returns config.json."""
    (root / "bin").mkdir(parents=True)
    shutil.copy2(DAEMON, root / "bin")
    (root / "version.info").write_text("Ascend-mindie : MindIE 2.2.RC1\nAscend-mindie-service : MindIE 2.2.RC1\n")
    configuration = root / "conf" / "config.json"
    configuration.parent.mkdir()
    configuration.write_text(a_configuration(a_model(root.parent / "model", **model), port, management))
    configuration.chmod(0o640)
    return configuration
