"""What runs on what: the device, its number formats, and the versions."""

import importlib.metadata
import platform

import torch

from emotion_tutorial.exceptions import SettingsError
from emotion_tutorial.profiles import Profile


def best_device() -> torch.device:
    """Return the accelerator that PyTorch finds (CUDA, Apple's MPS, ...), else the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def usable_device(device: str | torch.device | None) -> torch.device:
    """Return a device on which PyTorch can compute; None is `best_device()`.

    Raises
    ------
    SettingsError
        If there is no such device here.
    """
    try:
        return best_device() if device is None else torch.empty(0, device=device).device
    except (AssertionError, RuntimeError, TypeError) as error:
        raise SettingsError(f"There is no device={device!r} here. Leave it out to use {best_device()}.") from error


def has_bfloat16(device: torch.device) -> bool:
    """Say whether a device computes bfloat16 in hardware: elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def describe_setup(profile: Profile) -> str:
    """Say what runs on what: versions, device, data and checkpoint, a line each."""
    packages = ("torch", "transformers", "datasets", "scikit-learn")
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)
    device = best_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    rows = {"versions": f"Python {platform.python_version()}, {versions}", "device": f"{device.type} ({name})"}
    rows |= {"profile": profile.name, "data": profile.data, "checkpoint": profile.checkpoint}
    return "\n".join(f"{row:<12}{value}" for row, value in rows.items())
