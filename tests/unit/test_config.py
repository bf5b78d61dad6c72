"""A configuration is composed of flags, environment, file and defaults, and refused with words that help."""

from dataclasses import fields
from pathlib import Path

import pytest

from workflowstore_server.config.settings import SETTINGS
from workflowstore_server.config.sources import ConfigurationError, load
from workflowstore_server.embedded.server import EmbeddedOptions
from workflowstore_server.index import IndexOptions, RetentionOptions
from workflowstore_server.model.state import WorkflowStatus
from workflowstore_server.service.calls import CallOptions
from workflowstore_server.service.server import ServiceOptions
from workflowstore_server.store.jetstream.bucket import BucketOptions
from workflowstore_server.store.jetstream.connection import NatsOptions

OTHER = {
    "listen": "0.0.0.0:1",
    "listen-tls-cert": "FILE",
    "listen-tls-key": "FILE",
    "listen-tls-client-ca": "FILE",
    "insecure": "yes",
    "data-dir": "elsewhere",
    "bucket": "a,b",
    "create-buckets": "no",
    "history": "2",
    "replicas": "3",
    "atomic-batches": "yes",
    "bucket-bytes-max": "1000000",
    "index": ":memory:",
    "index-wait-seconds": "0.5",
    "retention": "completed=30d, failed=1d12h,canceled=90m",
    "delete-markers-kept": "7d",
    "nats-url": "nats://a:1,tls://b:2",
    "nats-creds": "FILE",
    "nats-nkey": "FILE",
    "nats-tls-ca": "FILE",
    "nats-tls-cert": "FILE",
    "nats-tls-key": "FILE",
    "nats-monitor-url": "http://a:8222",
    "nats-server": "FILE",
    "data-bytes-max": "1048576",
    "disk-reserve-bytes": "16777216",
    "auth-tokens": "FILE",
    "auth-policy": "FILE",
    "reflection": "off",
    "calls-max": "7",
    "lists-max": "8",
    "watches-max": "9",
    "drain-seconds": "1.5",
    "metrics-listen": "0.0.0.0:2",
    "access-log": "all",
    "log-format": "json",
    "log-level": "debug",
}
EMBEDDED_ONLY = {"nats-server", "data-bytes-max", "disk-reserve-bytes"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_defaults_are_those_of_the_components() -> None:
    config = load({}, {}, None)
    assert config.service == ServiceOptions()
    assert config.bucket == BucketOptions()
    assert config.embedded == EmbeddedOptions()
    assert config.nats == NatsOptions()
    assert config.nats_urls == ()
    assert config.nats_monitor_url is None
    assert config.buckets == ("beluga_workflows",)
    assert config.data_directory == Path("workflowstore-data")
    assert config.index == IndexOptions(Path("workflowstore-data/index"))
    assert config.retention == RetentionOptions()
    assert (config.log_format, config.log_level) == ("human", "info")
    assert (config.metrics_listen, config.traces) == ("127.0.0.1:9464", False)


def test_every_option_of_a_component_has_a_setting_or_is_its_own() -> None:
    """A new option must be decided about: give it a setting, or add it here."""
    assert [field.name for field in fields(ServiceOptions)] == [
        "listen",
        "reflection",
        "drain_seconds",
        "calls",
        "connections",  # what nobody was seen to need otherwise
        "logged",
        "access",
        "tls",
    ]
    times = ["call_seconds_max", "stall_seconds_max"]  # likewise
    assert [field.name for field in fields(CallOptions)] == ["calls_max", "lists_max", "watches_max", *times]
    assert [field.name for field in fields(IndexOptions)] == ["directory", "wait_seconds", "delete_marker_seconds"]
    assert [field.name for field in fields(RetentionOptions)] == ["rules"]
    limited = ["create", "history", "replicas", "allow_atomic", "max_bytes"]
    assert [field.name for field in fields(BucketOptions)] == limited
    assert [field.name for field in fields(EmbeddedOptions)] == ["program", "file_store_bytes_max", "reserve_bytes"]
    without_setting = {
        "user", "password",  # of the embedded server alone; for others there is --nats-creds
        "request_timeout_seconds", "connect_timeout_seconds", "reconnect_wait_seconds_max", "ping_interval_seconds",
    }  # fmt: skip
    assert {field.name for field in fields(NatsOptions)} - without_setting == {
        "credentials_file",
        "nkey_file",
        "tls_ca_file",
        "tls_certificate_file",
        "tls_key_file",
    }


def _values(config) -> dict[str, object]:
    return {
        "listen": config.service.listen,
        "listen-tls-cert": config.service.tls and config.service.tls.certificate_file,
        "listen-tls-key": config.service.tls and config.service.tls.key_file,
        "listen-tls-client-ca": config.service.tls and config.service.tls.client_ca_file,
        "insecure": True,  # reaches no component: it is what `load` refuses without
        "data-dir": config.data_directory,
        "bucket": config.buckets,
        "create-buckets": config.bucket.create,
        "history": config.bucket.history,
        "replicas": config.bucket.replicas,
        "atomic-batches": config.bucket.allow_atomic,
        "bucket-bytes-max": config.bucket.max_bytes,
        "index": "disk" if config.index.directory is not None else ":memory:",
        "index-wait-seconds": config.index.wait_seconds,
        "retention": config.retention.rules,
        "delete-markers-kept": config.index.delete_marker_seconds,
        "nats-url": config.nats_urls,
        "nats-creds": config.nats.credentials_file,
        "nats-nkey": config.nats.nkey_file,
        "nats-tls-ca": config.nats.tls_ca_file,
        "nats-tls-cert": config.nats.tls_certificate_file,
        "nats-tls-key": config.nats.tls_key_file,
        "nats-monitor-url": config.nats_monitor_url,
        "nats-server": config.embedded.program,
        "data-bytes-max": config.embedded.file_store_bytes_max,
        "disk-reserve-bytes": config.embedded.reserve_bytes,
        "auth-tokens": config.service.access and config.service.access.tokens_file,
        "auth-policy": config.service.access and config.service.access.policy_file,
        "reflection": config.service.reflection,
        "calls-max": config.service.calls.calls_max,
        "lists-max": config.service.calls.lists_max,
        "watches-max": config.service.calls.watches_max,
        "drain-seconds": config.service.drain_seconds,
        "metrics-listen": config.metrics_listen,
        "access-log": config.service.logged.value,
        "log-format": config.log_format,
        "log-level": config.log_level,
    }


EXPECTED = {
    "listen": "0.0.0.0:1",
    "insecure": True,
    "data-dir": Path("elsewhere"),
    "bucket": ("a", "b"),
    "create-buckets": False,
    "history": 2,
    "replicas": 3,
    "atomic-batches": True,
    "index": ":memory:",
    "index-wait-seconds": 0.5,
    "retention": {
        WorkflowStatus.COMPLETED: 30 * 86400.0,
        WorkflowStatus.FAILED: 1.5 * 86400.0,
        WorkflowStatus.CANCELED: 5400.0,
    },
    "delete-markers-kept": 7 * 86400.0,
    "nats-url": ("nats://a:1", "tls://b:2"),
    "nats-monitor-url": "http://a:8222",
    "bucket-bytes-max": 1000000,
    "data-bytes-max": 1048576,
    "disk-reserve-bytes": 16777216,
    "reflection": False,
    "calls-max": 7,
    "lists-max": 8,
    "watches-max": 9,
    "drain-seconds": 1.5,
    "metrics-listen": "0.0.0.0:2",
    "access-log": "all",
    "log-format": "json",
    "log-level": "debug",
}


@pytest.mark.parametrize(("external", "without"), [(True, "nats-nkey"), (True, "nats-creds"), (False, None)])
def test_every_setting_reaches_its_component_from_the_environment(external, without, file) -> None:
    file.write_text("")
    wanted = {
        name: str(file) if value == "FILE" else value
        for name, value in OTHER.items()
        if (name not in EMBEDDED_ONLY if external else not name.startswith("nats-") or name in EMBEDDED_ONLY)
        and (external or name != "replicas")
        and name != without
    }
    variables = {setting.name: setting.variable for setting in SETTINGS}
    found = _values(load({}, {variables[name]: value for name, value in wanted.items()}, None))
    for name in wanted:
        assert found[name] == EXPECTED.get(name, file), name


def test_the_settings_are_those_above() -> None:
    assert [setting.name for setting in SETTINGS] == list(OTHER) == list(_values(load({}, {}, None)))


def test_a_toml_file_has_the_names_of_the_flags_and_typed_values(file) -> None:
    file.write_text(
        'listen = "127.0.0.1:1"\nbucket = ["a", "b", "a"]\ncreate-buckets = false\nhistory = 3\ndrain-seconds = 2\n'
        'nats-url = "nats://a:1"\n'
    )
    config = load({}, {}, file)
    assert config.service == ServiceOptions("127.0.0.1:1", None, 2.0)
    assert config.buckets == ("a", "b")
    assert config.bucket == BucketOptions(create=False, history=3)
    assert config.nats_urls == ("nats://a:1",)


def test_no_metrics_are_asked_for_by_a_word() -> None:
    assert load({"metrics_listen": "off"}, {}, None).metrics_listen is None
    for wrong in ("9464", ":9464", "127.0.0.1:x", "127.0.0.1:65536", "Off"):
        with pytest.raises(ConfigurationError, match=r"^--metrics-listen: .* is neither HOST:PORT nor off$"):
            load({"metrics_listen": wrong}, {}, None)


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "orders"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_traces_are_asked_for_by_the_variables_of_opentelemetry(variables: dict[str, str], asked: bool) -> None:
    assert load({}, variables, None).traces is asked


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("retention = 'failed=1h'", {WorkflowStatus.FAILED: 3600.0}),
        ("[retention]\ncompleted = '1s'\ncanceled = '36500d'", {
            WorkflowStatus.COMPLETED: 1.0, WorkflowStatus.CANCELED: 36500 * 86400.0,
        }),
    ],
)  # fmt: skip
def test_retention_in_a_toml_file_is_a_text_or_a_table(text, rules, file) -> None:
    file.write_text(text)
    assert load({}, {}, file).retention.rules == rules


@pytest.mark.parametrize("text", ["delete-markers-kept = 0", "delete-markers-kept = '0'"])
def test_delete_markers_are_kept_for_ever_when_told_so(text, file) -> None:
    file.write_text(text)
    environment = {"WORKFLOWSTORE_DELETE_MARKERS_KEPT": "0"}
    assert load({}, {}, file).index.delete_marker_seconds == 0
    assert load({}, environment, None).index.delete_marker_seconds == 0


def test_flags_win_over_the_environment_that_over_the_file_that_over_defaults(file) -> None:
    file.write_text('log-level = "error"\nhistory = 3\nlisten = "localhost:3"\nlog-format = "json"\n')
    environment = {"WORKFLOWSTORE_LOG_LEVEL": "warning", "WORKFLOWSTORE_HISTORY": "2", "PATH": "unrelated"}
    config = load({"log_level": "debug"}, environment, file)
    assert config.log_level == "debug"
    assert config.bucket.history == 2
    assert config.service.listen == "localhost:3"
    assert config.service.drain_seconds == 30.0


def test_a_false_flag_wins_over_a_true_variable() -> None:
    assert load({"reflection": False}, {"WORKFLOWSTORE_REFLECTION": "true"}, None).service.reflection is False


@pytest.mark.parametrize("word", ["true", "YES", "on", "1"])
def test_words_for_true(word) -> None:
    assert load({}, {"WORKFLOWSTORE_REFLECTION": word}, None).service.reflection is True


def test_variables_of_the_clients_are_known() -> None:
    names = ("ADDRESS", "CONFIG", "TLS_CA", "TLS_CERT", "TLS_KEY", "TLS_SERVER_NAME", "TOKEN", "TOKEN_FILE")
    load({}, {f"WORKFLOWSTORE_{name}": "x" for name in names}, None)


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "store.example:1"])
def test_a_listener_that_others_reach_is_refused_without_protection(listen, file) -> None:
    file.write_text("")
    cert, client_ca = {"listen_tls_cert": str(file)}, {"listen_tls_client_ca": str(file)}
    with pytest.raises(ConfigurationError) as without_both:
        load({"listen": listen}, {}, None)
    with pytest.raises(ConfigurationError) as without_authentication:
        load({"listen": listen, **cert}, {}, None)
    assert str(without_both.value) == (
        f"--listen {listen} lets other machines in, without encryption or authentication: give --listen-tls-cert and "
        "--listen-tls-key for encryption, --auth-policy with --auth-tokens, or --listen-tls-client-ca for "
        "authentication; or listen on 127.0.0.1; or give --insecure where only who may do everything reaches that "
        "address"
    )
    assert ", without authentication: give --auth-policy with" in str(without_authentication.value)
    load({"listen": listen, **cert, **client_ca}, {}, None)
    load({"listen": listen, **cert, "auth_policy": str(file), "auth_tokens": str(file)}, {}, None)
    load({"listen": listen}, {"WORKFLOWSTORE_INSECURE": "true"}, None)


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "localhost:1"])
def test_a_listener_that_nobody_else_reaches_needs_no_protection(listen) -> None:
    load({"listen": listen}, {}, None)


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        ({"listen": "here"}, {}, ["--listen", "'here'", "HOST:PORT"]),
        ({"listen": "a:65536"}, {}, ["--listen", "'a:65536'", "HOST:PORT"]),
        ({"listen": ""}, {}, ["--listen", "''", "give a text"]),
        ({"bucket": ("a b",)}, {}, ["--bucket", "'a b'", "letters, digits, '_' and '-'"]),
        ({"bucket": ("",)}, {}, ["--bucket", "('',)", "one or several texts"]),
        ({}, {"WORKFLOWSTORE_BUCKET": "a,,b"}, ["WORKFLOWSTORE_BUCKET", "one or several texts"]),
        ({"history": "65"}, {}, ["--history", "'65'", "a whole number from 1 to 64"]),
        ({"history": "1.5"}, {}, ["--history", "'1.5'", "a whole number from 1 to 64"]),
        ({}, {"WORKFLOWSTORE_REPLICAS": "0"}, ["WORKFLOWSTORE_REPLICAS", "'0'", "a whole number from 1 to 5"]),
        ({"data_bytes_max": "1"}, {}, ["--data-bytes-max", "'1'", "a whole number from 1048576"]),
        ({"retention": "completed"}, {}, ["--retention", "'completed' is not STATUS=TIME", "completed=30d,failed=90d"]),
        ({"retention": "completed=30d,"}, {}, ["--retention", "'' is not STATUS=TIME"]),
        ({"retention": "running=30d"}, {}, ["--retention", "'running' is no status", "completed, failed, canceled"]),
        ({"retention": "failed=1d,failed=2d"}, {}, ["--retention", "failed is given twice"]),
        (
            {},
            {"WORKFLOWSTORE_RETENTION": "failed=soon"},
            ["WORKFLOWSTORE_RETENTION, failed", "'soon'", "30d, 12h, 90m"],
        ),
        ({"retention": "failed=30"}, {}, ["--retention, failed", "'30' is no time from 1s to 36500d"]),
        ({"retention": "failed=0.5s"}, {}, ["--retention, failed", "'0.5s' is no time from 1s"]),
        ({"retention": "failed=36501d"}, {}, ["--retention, failed", "'36501d' is no time from 1s to 36500d"]),
        ({"retention": "failed=10:30"}, {}, ["--retention, failed", "'10:30' is no time"]),
        ({"delete_markers_kept": "-7d"}, {}, ["--delete-markers-kept", "'-7d' is no time from 1s", "30d, 12h, 90m"]),
        ({"drain_seconds": "nan"}, {}, ["--drain-seconds", "'nan'", "a number from 0 to 3600"]),
        ({}, {"WORKFLOWSTORE_REFLECTION": "maybe"}, ["WORKFLOWSTORE_REFLECTION", "'maybe'", "true or false"]),
        ({"log_format": "xml"}, {}, ["--log-format", "'xml'", "human, json"]),
        ({"nats_url": ("http://a:1",)}, {}, ["--nats-url", "nats://HOST:PORT or tls://HOST:PORT"]),
        ({"nats_url": ("nats://a",), "nats_monitor_url": "a:1"}, {}, ["--nats-monitor-url", "http://HOST:PORT"]),
        ({"nats_creds": "x"}, {}, ["--nats-creds", "--nats-url"]),
        ({"nats_monitor_url": "http://x"}, {}, ["--nats-monitor-url", "--nats-url"]),
        ({"nats_url": ("nats://a",), "nats_server": "x"}, {}, ["--nats-server", "--nats-url"]),
        ({"nats_url": ("nats://a",), "data_bytes_max": "2000000"}, {}, ["--data-bytes-max", "--nats-url"]),
        ({"nats_url": ("nats://a",), "nats_tls_key": "x"}, {}, ["--nats-tls-key", "--nats-tls-cert"]),
        ({"nats_url": ("nats://a",), "nats_creds": "/no/such"}, {}, ["--nats-creds", "no file /no/such"]),
        ({"nats_url": ("nats://a",), "nats_creds": "x", "nats_nkey": "x"}, {}, ["--nats-creds", "--nats-nkey", "drop"]),
        ({"nats_url": ("nats://a",), "nats_nkey": "/no/such"}, {}, ["--nats-nkey", "no file /no/such"]),
        ({"nats_nkey": "x"}, {}, ["--nats-nkey", "--nats-url"]),
        ({"listen_tls_cert": "/no/such"}, {}, ["--listen-tls-cert", "no file /no/such"]),
        ({"listen_tls_key": "x"}, {}, ["--listen-tls-key", "--listen-tls-cert"]),
        ({"listen_tls_client_ca": "x"}, {}, ["--listen-tls-client-ca", "--listen-tls-cert"]),
        ({"nats_server": "/no/such"}, {}, ["--nats-server", "no file /no/such"]),
        ({"replicas": "3"}, {}, ["--replicas", "--nats-url"]),
        ({}, {"WORKFLOWSTORE_LISTN": "a:1"}, ["WORKFLOWSTORE_LISTN is no setting", "WORKFLOWSTORE_LISTEN"]),
    ],
)
def test_wrong_values_are_refused_with_name_value_and_way_out(flags, environment, words) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(flags, environment, None)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lisen = 'a:1'", ["lisen in", "is no setting", "listen"]),
        ("[server]\nlisten = 'a:1'", ["server in", "is no setting"]),
        ("listen = \n", ["--config", "is not TOML", "line 1"]),
        ("listen = 5", ["listen in", "give a text, not 5"]),
        ("history = true", ["history in", "True is not a whole number"]),
        ("history = 2.5", ["history in", "2.5 is not a whole number"]),
        ("bucket = [1]", ["bucket in", "[1]", "one or several texts"]),
        ("bucket = []", ["bucket in", "[]", "one or several texts"]),
        ("retention = 30", ["retention in", "a text or a table", "not 30"]),
        ("retention = {}", ["retention in", "a text or a table", "not {}"]),
        ("retention = {completed = 30}", ["retention in", ", completed: 30 is no time"]),
        ("delete-markers-kept = false", ["delete-markers-kept in", "False is no time"]),
        ("delete-markers-kept = 7", ["delete-markers-kept in", "7 is no time"]),
        ("log-level = 'loud'", ["log-level in", "'loud'", "debug, info, warning, error"]),
    ],
)
def test_a_wrong_file_is_refused_with_name_value_and_way_out(text, words, file) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load({}, {}, file)
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"--config: cannot read .*none: No such file or directory"):
        load({}, {}, tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load({}, {}, tmp_path / "binary")


def test_a_secret_in_an_address_is_not_told() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"nats_url": ("http://user:secret@a:1",)}, {}, None)
    assert "secret" not in str(caught.value)


def test_tokens_and_a_policy_go_together(file) -> None:
    file.write_text("")
    with pytest.raises(ConfigurationError, match="--auth-policy"):
        load({"auth_tokens": str(file)}, {}, None)
    with pytest.raises(ConfigurationError, match="--auth-tokens"):
        load({"auth_policy": str(file)}, {}, None)
    assert load({}, {"WORKFLOWSTORE_TOKEN": "x", "WORKFLOWSTORE_TOKEN_FILE": "y"}, None).service.access is None
