"""The only place that knows how flags, environment and file together make a configuration."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pytimeparse.timeparse import timeparse

from workflowstore_server.config.settings import (
    DURATION_SECONDS_MAX,
    DURATION_SECONDS_MIN,
    INDEX_DIRECTORY,
    RETENTION_STATUSES,
    SETTINGS,
    VARIABLE_PREFIX,
    Setting,
)
from workflowstore_server.embedded.server import EmbeddedOptions
from workflowstore_server.index import IndexOptions, RetentionOptions
from workflowstore_server.model.state import WorkflowStatus
from workflowstore_server.service.access import AccessOptions
from workflowstore_server.service.access_log import Logged
from workflowstore_server.service.calls import CallOptions
from workflowstore_server.service.server import ServiceOptions
from workflowstore_server.service.transport import TlsOptions
from workflowstore_server.store.jetstream.bucket import BucketOptions
from workflowstore_server.store.jetstream.connection import NatsOptions

BUCKET_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
TRUE_WORDS: Final = frozenset({"true", "yes", "on", "1"})
FALSE_WORDS: Final = frozenset({"false", "no", "off", "0"})
OFF: Final = "off"
CLIENT_VARIABLES: Final = frozenset(
    VARIABLE_PREFIX + name
    for name in ("ADDRESS", "CONFIG", "TLS_CA", "TLS_CERT", "TLS_KEY", "TLS_SERVER_NAME", "TOKEN", "TOKEN_FILE")
)
"""What the client commands and --config read. They may stand in the environment of a server too."""

FILES: Final = (
    "listen_tls_cert", "listen_tls_key", "listen_tls_client_ca", "nats_creds", "nats_nkey", "nats_tls_ca",
    "nats_tls_cert", "nats_tls_key", "nats_server", "auth_tokens", "auth_policy",
)  # fmt: skip
"""Settings that name a file that has to be there."""

PROTECTIONS: Final = {
    "encryption": "--listen-tls-cert and --listen-tls-key",
    "authentication": "--auth-policy with --auth-tokens, or --listen-tls-client-ca",
}
"""How a listener gets what it lacks."""


class ConfigurationError(Exception):
    """A setting is wrong; the text names it, where it came from, and what would be right."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a server is told, as the options of its components."""

    buckets: tuple[str, ...]
    bucket: BucketOptions
    service: ServiceOptions
    nats: NatsOptions
    nats_urls: tuple[str, ...]
    """Addresses of external NATS servers. Empty = one is embedded."""
    nats_monitor_url: str | None
    data_directory: Path
    index: IndexOptions
    retention: RetentionOptions
    embedded: EmbeddedOptions
    metrics_listen: str | None
    """HOST:PORT for metrics. None = they are told to nobody."""
    traces: bool
    """Whether the variables of OpenTelemetry ask for traces."""
    log_format: str
    log_level: str


def load(flags: Mapping[str, object], environment: Mapping[str, str], file: Path | None) -> Config:
    """Compose the configuration: flags win over the environment, that over the file, that over the defaults.

    `flags` has the given ones only, by setting key.

    Raises: ConfigurationError.
    """
    from_file = _read(file) if file is not None else {}
    _refuse_unknown(environment, from_file, file)
    values: dict[str, Any] = {}
    given: set[str] = set()
    for setting in SETTINGS:
        for source, raw in (
            (f"--{setting.name}", flags.get(setting.key)),
            (setting.variable, environment.get(setting.variable)),
            (f"{setting.name} in {file}", from_file.get(setting.name)),
        ):
            if raw is not None:
                values[setting.key] = _parse(setting, raw, source)
                given.add(setting.key)
                break
        else:
            values[setting.key] = setting.default
    _check_combination(values, given)
    config = _compose(values, traces=_asks_for_traces(environment))
    if not values["insecure"]:
        _check_exposure(config.service)
    return config


def _asks_for_traces(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables of OpenTelemetry say that traces are to be sent, and where to."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporter := environment.get("OTEL_TRACES_EXPORTER", "").strip():
        return exporter == "otlp"
    return any(environment.get(name) for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(host and colon and port.isdecimal() and int(port) < 65536)


def _read(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigurationError(f"--config: cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--config: {file} is not TOML: {error}") from error


def _refuse_unknown(environment: Mapping[str, str], from_file: Mapping[str, object], file: Path | None) -> None:
    names = {setting.name for setting in SETTINGS}
    if unknown := sorted(set(from_file) - names):
        raise ConfigurationError(f"{unknown[0]} in {file} is no setting; the settings are {', '.join(sorted(names))}")
    variables = {setting.variable for setting in SETTINGS} | CLIENT_VARIABLES
    # A misspelt variable would otherwise be obeyed by nobody and noticed by nobody.
    if unknown := sorted(name for name in environment if name.startswith(VARIABLE_PREFIX) and name not in variables):
        raise ConfigurationError(f"{unknown[0]} is no setting; the variables are {', '.join(sorted(variables))}")


def _parse(setting: Setting, raw: object, source: str) -> object:
    match setting.kind:
        case "texts":
            items = raw.split(",") if isinstance(raw, str) else raw
            if (
                not isinstance(items, list | tuple)
                or not items
                or not all(isinstance(item, str) and item for item in items)
            ):
                raise ConfigurationError(f"{source}: give one or several texts, not {raw!r}")
            return tuple(dict.fromkeys(item.strip() for item in items))
        case "boolean":
            return _parse_boolean(raw, source)
        case "integer" | "seconds":
            return _parse_number(setting, raw, source)
        case "duration":
            return 0.0 if raw in (0, "0") and raw is not False else _parse_duration(raw, source)
        case "retention":
            return _parse_retention(raw, source)
        case "choice":
            if raw not in setting.choices:
                raise ConfigurationError(f"{source}: {raw!r} is none of {', '.join(setting.choices)}")
            return raw
    if not isinstance(raw, str) or not raw:
        raise ConfigurationError(f"{source}: give a text, not {raw!r}")
    return Path(raw) if setting.kind == "path" else raw


def _parse_boolean(raw: object, source: str) -> bool:
    if isinstance(raw, bool):
        return raw
    word = str(raw).lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise ConfigurationError(f"{source}: give true or false, not {raw!r}")
    return word in TRUE_WORDS


def _parse_number(setting: Setting, raw: object, source: str) -> float:
    number = int if setting.kind == "integer" else float
    try:
        value = number(raw) if isinstance(raw, str | number | int) and not isinstance(raw, bool) else None
    except ValueError:
        value = None
    low, high = setting.minimum, setting.maximum
    if value is None or not (low is None or low <= value) or not (high is None or value <= high):
        bounds = f"from {low}" + (f" to {high}" if high is not None else "") if low is not None else ""
        raise ConfigurationError(
            f"{source}: {raw!r} is not {'a whole' if number is int else 'a'} number {bounds}".rstrip()
        )
    return value


def _parse_duration(raw: object, source: str) -> float:
    """Return the seconds that a text such as 1d12h means."""
    # It would take 10:30 for ten minutes and a half.
    seconds = timeparse(raw) if isinstance(raw, str) and ":" not in raw else None
    if seconds is None or not DURATION_SECONDS_MIN <= seconds <= DURATION_SECONDS_MAX:
        raise ConfigurationError(f"{source}: {raw!r} is no time from 1s to 36500d; give such as 30d, 12h, 90m or 1d12h")
    return float(seconds)


def _parse_retention(raw: object, source: str) -> dict[WorkflowStatus, float]:
    """Return the seconds for each status: of a text `completed=30d,failed=90d`, or of a table in the file."""
    rules: dict[WorkflowStatus, float] = {}
    for name, time in _pairs_of(raw, source):
        status = RETENTION_STATUSES.get(name)
        if status is None:
            ended = ", ".join(RETENTION_STATUSES)
            raise ConfigurationError(f"{source}: {name!r} is no status of an ended workflow; these are: {ended}")
        if status in rules:
            raise ConfigurationError(f"{source}: {name} is given twice; give one time for it")
        rules[status] = _parse_duration(time, f"{source}, {name}")
    return rules


def _pairs_of(raw: object, source: str) -> list[tuple[str, object]]:
    if isinstance(raw, dict) and raw:
        return list(raw.items())
    if not isinstance(raw, str):
        raise ConfigurationError(f'{source}: give a text or a table such as {{completed = "30d"}}, not {raw!r}')
    pairs: list[tuple[str, object]] = []
    for part in raw.split(","):
        name, equals, time = part.partition("=")
        if not equals:
            raise ConfigurationError(
                f"{source}: {part.strip()!r} is not STATUS=TIME; give such as completed=30d,failed=90d,canceled=30d"
            )
        pairs.append((name.strip(), time.strip()))
    return pairs


def _check_combination(values: Mapping[str, Any], given: set[str]) -> None:
    external = bool(values["nats_url"])
    for key in ("nats_creds", "nats_nkey", "nats_tls_ca", "nats_tls_cert", "nats_tls_key", "nats_monitor_url"):
        if key in given and not external:
            raise ConfigurationError(f"--{key.replace('_', '-')} is for a NATS server named with --nats-url; name one")
    for key in ("nats_server", "data_bytes_max", "disk_reserve_bytes"):
        if key in given and external:
            name = key.replace("_", "-")
            raise ConfigurationError(
                f"--{name} is for the embedded nats-server, and --nats-url asks for none; drop one"
            )
    if values["nats_tls_key"] and not values["nats_tls_cert"]:
        raise ConfigurationError("--nats-tls-key needs the certificate it belongs to: --nats-tls-cert")
    if values["nats_creds"] and values["nats_nkey"]:
        raise ConfigurationError("--nats-creds and --nats-nkey are two ways to say who one is; drop one")
    for key in ("listen_tls_key", "listen_tls_client_ca"):
        if values[key] and not values["listen_tls_cert"]:
            raise ConfigurationError(f"--{key.replace('_', '-')} needs the server's certificate: --listen-tls-cert")
    if values["replicas"] > 1 and not external:
        raise ConfigurationError("--replicas: the embedded nats-server is one; name a NATS cluster with --nats-url")
    for bucket in values["bucket"]:
        if not BUCKET_NAME.fullmatch(bucket):
            raise ConfigurationError(f"--bucket: {bucket!r} is no bucket name; use letters, digits, '_' and '-'")
    if not _is_address(values["listen"]):
        raise ConfigurationError(f"--listen: {values['listen']!r} is not HOST:PORT")
    if values["metrics_listen"] != OFF and not _is_address(values["metrics_listen"]):
        raise ConfigurationError(f"--metrics-listen: {values['metrics_listen']!r} is neither HOST:PORT nor {OFF}")
    for url in values["nats_url"]:
        if urlsplit(url).scheme not in {"nats", "tls"}:
            raise ConfigurationError("--nats-url: give nats://HOST:PORT or tls://HOST:PORT")
    if (monitor := values["nats_monitor_url"]) and urlsplit(monitor).scheme not in {"http", "https"}:
        raise ConfigurationError("--nats-monitor-url: give http://HOST:PORT or https://HOST:PORT")
    if values["auth_tokens"] and not values["auth_policy"]:
        raise ConfigurationError("--auth-tokens tells who calls; say with --auth-policy who may do what")
    if values["auth_policy"] and not (values["auth_tokens"] or values["listen_tls_client_ca"]):
        raise ConfigurationError("--auth-policy needs to know who calls: give --auth-tokens or --listen-tls-client-ca")
    for key in FILES:
        if values[key] is not None and not values[key].is_file():
            raise ConfigurationError(f"--{key.replace('_', '-')}: there is no file {values[key]}")


def _check_exposure(service: ServiceOptions) -> None:
    """Refuse a listener that others reach over a network, and that nothing protects from them."""
    if service.on_loopback or not service.lacks:
        return
    ways = ", ".join(f"{PROTECTIONS[lacking]} for {lacking}" for lacking in service.lacks)
    raise ConfigurationError(
        f"--listen {service.listen} lets other machines in, without {' or '.join(service.lacks)}: give {ways}; or "
        "listen on 127.0.0.1; or give --insecure where only who may do everything reaches that address"
    )


def _compose(values: Mapping[str, Any], *, traces: bool) -> Config:
    return Config(
        buckets=values["bucket"],
        bucket=BucketOptions(
            values["create_buckets"],
            values["history"],
            values["replicas"],
            values["atomic_batches"],
            values["bucket_bytes_max"],
        ),
        service=ServiceOptions(
            values["listen"],
            values["reflection"],
            values["drain_seconds"],
            CallOptions(values["calls_max"], values["lists_max"], values["watches_max"]),
            access=AccessOptions(values["auth_policy"], values["auth_tokens"]) if values["auth_policy"] else None,
            tls=TlsOptions(values["listen_tls_cert"], values["listen_tls_key"], values["listen_tls_client_ca"])
            if values["listen_tls_cert"]
            else None,
            logged=Logged(values["access_log"]),
        ),
        nats=NatsOptions(
            credentials_file=values["nats_creds"],
            nkey_file=values["nats_nkey"],
            tls_ca_file=values["nats_tls_ca"],
            tls_certificate_file=values["nats_tls_cert"],
            tls_key_file=values["nats_tls_key"],
        ),
        nats_urls=values["nats_url"],
        nats_monitor_url=values["nats_monitor_url"],
        data_directory=Path(values["data_dir"]),
        index=IndexOptions(
            Path(values["data_dir"]) / INDEX_DIRECTORY if values["index"] == "disk" else None,
            values["index_wait_seconds"],
            values["delete_markers_kept"],
        ),
        retention=RetentionOptions(values["retention"] or {}),
        embedded=EmbeddedOptions(values["nats_server"], values["data_bytes_max"], values["disk_reserve_bytes"]),
        metrics_listen=None if values["metrics_listen"] == OFF else values["metrics_listen"],
        traces=traces,
        log_format=values["log_format"],
        log_level=values["log_level"],
    )
