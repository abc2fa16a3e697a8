"""The Temporal SDK's own sources as layers: TEMPORAL_* variables, and a profile of temporal.toml.

`temporalio.envconfig` reads both, so that the names, the file's place and its form are the SDK's. What the SDK for
Python reads and cannot do is refused where it matters (a server's certificate that is not checked), and left alone
where it does not concern a worker (the remote codec, which the `temporal` command line uses).
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from temporalio.envconfig import ClientConfig, ClientConfigProfile, DataSource

from app.core.config.errors import ConfigProblem
from app.core.config.layers import Layer, all_locs
from app.core.config.resolve import Loc, lay_over

FILE_VARIABLE = "TEMPORAL_CONFIG_FILE"
PROFILE_VARIABLE = "TEMPORAL_PROFILE"
METADATA_PREFIX = "TEMPORAL_GRPC_META_"
_DEFAULT_PROFILE = "default"
"""The one profile that need not be in the file."""
_UNCHECKED = "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION"

NAMES: dict[str, Loc] = {
    "TEMPORAL_ADDRESS": ("temporal", "address"),
    "TEMPORAL_NAMESPACE": ("temporal", "namespace"),
    PROFILE_VARIABLE: ("temporal", "profile"),
    "TEMPORAL_API_KEY": ("temporal", "api_key"),
    "TEMPORAL_TLS": ("temporal", "tls", "enabled"),
    "TEMPORAL_TLS_SERVER_NAME": ("temporal", "tls", "server_name"),
    "TEMPORAL_TLS_SERVER_CA_CERT_PATH": ("temporal", "tls", "server_ca_file"),
    "TEMPORAL_TLS_SERVER_CA_CERT_DATA": ("temporal", "tls", "server_ca_data"),
    "TEMPORAL_TLS_CLIENT_CERT_PATH": ("temporal", "tls", "client_cert_file"),
    "TEMPORAL_TLS_CLIENT_CERT_DATA": ("temporal", "tls", "client_cert_data"),
    "TEMPORAL_TLS_CLIENT_KEY_PATH": ("temporal", "tls", "client_key_file"),
    "TEMPORAL_TLS_CLIENT_KEY_DATA": ("temporal", "tls", "client_key_data"),
    "TEMPORAL_DEPLOYMENT_NAME": ("temporal", "worker", "deployment_name"),
    "TEMPORAL_WORKER_BUILD_ID": ("temporal", "worker", "build_id"),
}
"""The variables with the setting that each one is."""

_HEADER = re.compile(r"""\s*\[\s*profile\.["']?([^]"'.]+)["']?\.?(\w*)\s*\]""")
_KEY = re.compile(r"\s*(\w+)\s*=")

_OURS = (PROFILE_VARIABLE, "TEMPORAL_DEPLOYMENT_NAME", "TEMPORAL_WORKER_BUILD_ID")
"""Those that are no part of the SDK's profile: its name, and the two of the Temporal worker controller."""


def variables() -> Layer:
    """What the TEMPORAL_* variables say; an empty one says nothing."""
    given = {name: value for name, value in os.environ.items() if name.startswith("TEMPORAL_") and value}
    if _true(given.pop(_UNCHECKED, "")):
        return Layer({}, {}, [_unchecked(_UNCHECKED)])
    try:
        profile = ClientConfigProfile.load(disable_file=True, override_env_vars=given)
    except RuntimeError as error:
        return Layer({}, {}, [ConfigProblem("TEMPORAL_*", "", str(error).removeprefix("Invalid configuration: "))])
    data = _settings(profile)
    for name in _OURS:
        if name in given:
            *sections, key = map(str, NAMES[name])
            said: dict[str, Any] = {key: given[name]}
            for section in reversed(sections):
                said = {section: said}
            lay_over(data, said)
    places = {loc: name for name, loc in NAMES.items() if name in given}
    for name in given:
        if name.startswith(METADATA_PREFIX):
            header = name.removeprefix(METADATA_PREFIX).lower().replace("_", "-")
            places["temporal", "grpc_metadata", header] = name
    if "TEMPORAL_TLS" in given and (profile.tls is None or profile.tls.disabled is None):
        wrong = ConfigProblem("TEMPORAL_TLS", "temporal.tls.enabled", "must be true or false")
        return Layer(data, places, [wrong])
    return Layer(data, places)


def profile(name: str, where: str) -> Layer:
    """What profile `name` of temporal.toml says, the default one if empty; `where`: the place that named it."""
    said = os.environ.get(FILE_VARIABLE)
    path = Path(said) if said else default_file()
    if not path.exists():
        if not said and not name:
            return Layer({}, {})
        remedy = "Create it, or take the name out." if said else f"Create it, or name another with {FILE_VARIABLE}."
        return Layer({}, {}, [ConfigProblem(FILE_VARIABLE if said else where, "", f"there is no file {path}", remedy)])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Layer({}, {}, [ConfigProblem(str(path), "", f"cannot be read: {error}")])
    try:
        named = None if name == _DEFAULT_PROFILE else name or None
        loaded = ClientConfigProfile.load(named, config_source=text, disable_env=True, config_file_strict=True)
    except RuntimeError as error:
        return Layer({}, {}, [_wrong(path, text, name, where, str(error))])
    raw = tomllib.loads(text).get("profile", {}).get(name or _DEFAULT_PROFILE, {})
    place = f"{path} (profile {name or _DEFAULT_PROFILE})"
    if raw.get("tls", {}).get("disable_host_verification"):
        return Layer({}, {}, [_unchecked(place)])
    data = _settings(loaded)
    lines = _lines(text, name or _DEFAULT_PROFILE)
    places = {loc: f"{path}:{lines[loc]}" if loc in lines else place for loc in all_locs(data)}
    return Layer(data, places)


def default_file() -> Path:
    """Where the SDK looks for temporal.toml by itself."""
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        xdg = os.environ.get("XDG_CONFIG_HOME", "")
        folder = Path(xdg) if xdg.startswith("/") else Path.home() / ".config"
    return folder / "temporalio" / "temporal.toml"


def _lines(text: str, name: str) -> dict[Loc, int]:
    """The lines of a profile's keys, where they stand one a line below its header; no reader of TOML tells them."""
    found: dict[Loc, int] = {}
    section: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = header[2] if header[1] == name else None
        elif section is not None and (key := _KEY.match(line)):
            variable = f"TEMPORAL_{section}_{key[1]}".replace("__", "_").upper().removesuffix("_DISABLED")
            if variable in NAMES:
                found[NAMES[variable]] = number
    return found


def _wrong(path: Path, text: str, name: str, where: str, told: str) -> ConfigProblem:
    if "not found" in told and told.startswith("Profile"):
        profiles = sorted(ClientConfig.load(config_source=text).profiles)
        near = difflib.get_close_matches(name, profiles, n=1)
        remedy = f"Did you mean {near[0]}?" if near else f"There: {', '.join(profiles) or 'none'}."
        return ConfigProblem(where, "temporal.profile", f"{path} has no profile {name}", remedy)
    line = re.search(r"at line (\d+)", told)
    fact = told.strip().splitlines()[-1].removeprefix("Invalid configuration: ")
    return ConfigProblem(f"{path}:{line[1]}" if line else str(path), "", fact, "Mend that line of temporal.toml.")


def _unchecked(where: str) -> ConfigProblem:
    fact = "the SDK for Python always checks the server's certificate"
    return ConfigProblem(where, "", fact, "Take it out; set temporal.tls.server_ca_file and .server_name instead.")


def _true(value: str) -> bool:
    return value.lower() in ("true", "1")


def _settings(profile: ClientConfigProfile) -> dict[str, Any]:
    """The SDK's profile in our words; what it does not say is absent."""
    tls: dict[str, Any] = {}
    if profile.tls:
        if profile.tls.disabled is not None:
            tls["enabled"] = not profile.tls.disabled
        if profile.tls.server_name:
            tls["server_name"] = profile.tls.server_name
        tls |= _source("server_ca", profile.tls.server_root_ca_cert)
        tls |= _source("client_cert", profile.tls.client_cert)
        tls |= _source("client_key", profile.tls.client_private_key)
    temporal: dict[str, Any] = {"tls": tls, "grpc_metadata": dict(profile.grpc_meta)}
    temporal |= {"address": profile.address, "namespace": profile.namespace, "api_key": profile.api_key}
    return {"temporal": {key: value for key, value in temporal.items() if value}}


def _source(name: str, source: DataSource | None) -> Mapping[str, str]:
    if source is None:
        return {}
    if isinstance(source, Path):
        return {f"{name}_file": str(source)}
    return {f"{name}_data": source.decode() if isinstance(source, bytes) else source}
