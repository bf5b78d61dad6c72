"""The only place that knows the settings of a server: their names, forms, defaults and help.

A setting NAME is the flag `--NAME`, the variable `WORKFLOWSTORE_NAME` and the key `NAME` in the configuration file. A
test holds the defaults against those of the components.
"""

from dataclasses import dataclass
from typing import Final

from workflowstore_server.model.limits import HISTORY_MAX, REPLICAS_MAX
from workflowstore_server.model.state import WorkflowStatus

VARIABLE_PREFIX: Final = "WORKFLOWSTORE_"
DATA_DIRECTORY_DEFAULT: Final = "workflowstore-data"
INDEX_DIRECTORY: Final = "index"
"""Within the data directory."""

RETENTION_STATUSES: Final = {
    status.value: status for status in (WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.CANCELED)
}
"""Workflows that have ended, by what they are called in the setting `retention`."""

DURATION_SECONDS_MIN: Final = 1.0
DURATION_SECONDS_MAX: Final = 36_500 * 86_400.0
"""100 years: more than anybody waits, and within the times that can be stored."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    `kind` is its form: text, texts (several), path, integer, seconds, boolean, duration (such as 30d), retention (a
    duration for each of some statuses) or one of `choices`.
    """

    name: str
    kind: str
    help: str
    default: object = None
    metavar: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable."""
        return VARIABLE_PREFIX + self.key.upper()

    @property
    def key(self) -> str:
        """The name as an identifier."""
        return self.name.replace("-", "_")


SETTINGS: Final = (
    Setting("listen", "text", "Address to serve on; port 0 picks a free one.", "127.0.0.1:50051", "HOST:PORT"),
    Setting("listen-tls-cert", "path", "Serve with TLS, by this certificate and its chain (PEM).", None, "FILE"),
    Setting("listen-tls-key", "path", "Private key of --listen-tls-cert (PEM).", None, "FILE"),
    Setting(
        "listen-tls-client-ca", "path", "Serve only clients with a certificate of these authorities (PEM).", None,
        "FILE",
    ),
    Setting("insecure", "boolean", "Allow --listen beyond this machine without TLS or authentication.", False),
    Setting(
        "data-dir", "path", "Directory of the index and of the embedded nats-server's data.",
        DATA_DIRECTORY_DEFAULT, "DIR",
    ),
    Setting("bucket", "texts", "Bucket to serve; repeatable, the first is the default.", ("beluga_workflows",), "NAME"),
    Setting("create-buckets", "boolean", "Create a bucket that is missing, or refuse to go on without it.", True),
    Setting("history", "integer", "Revisions kept of each workflow in a bucket created here.", 1, "N", 1, HISTORY_MAX),
    Setting("replicas", "integer", "Copies in the NATS cluster of a bucket created here.", 1, "N", 1, REPLICAS_MAX),
    Setting("atomic-batches", "boolean", "Allow atomic batches in a bucket created here.", False),
    Setting(
        "bucket-bytes-max", "integer", "Bytes a bucket created here may hold; 0 = no limit of its own.", 0, "BYTES", 0,
    ),
    Setting(
        "index", "choice", "Where the index for lists and counts is kept: in --data-dir, or in memory.", "disk",
        choices=("disk", ":memory:"),
    ),
    Setting(
        "index-wait-seconds", "seconds", "How long a list or count waits for the index to catch up.", 5.0, "SECONDS",
        0, 3600,
    ),
    Setting(
        "retention", "retention", "Delete ended workflows so long after their last update.", None,
        "STATUS=TIME,...",
    ),
    Setting("delete-markers-kept", "duration", "How long delete markers stay in a bucket; 0 = for ever.", 0.0, "TIME"),
    Setting("nats-url", "texts", "NATS server to use instead of an embedded one; may be repeated.", (), "URL"),
    Setting("nats-creds", "path", "Credentials file for --nats-url.", None, "FILE"),
    Setting("nats-nkey", "path", "File with an nkey seed for --nats-url.", None, "FILE"),
    Setting("nats-tls-ca", "path", "Certificates to check the NATS server's with (PEM).", None, "FILE"),
    Setting("nats-tls-cert", "path", "Certificate to show to the NATS server (PEM).", None, "FILE"),
    Setting("nats-tls-key", "path", "Private key of --nats-tls-cert (PEM).", None, "FILE"),
    Setting("nats-monitor-url", "text", "Monitoring endpoint of --nats-url; tells if it syncs writes.", None, "URL"),
    Setting("nats-server", "path", "nats-server program to embed instead of the installed one.", None, "FILE"),
    Setting(
        "data-bytes-max", "integer", "Bytes the embedded nats-server may store before it refuses writes.",
        64 * 1024**3, "BYTES", 1024**2,
    ),
    Setting(
        "disk-reserve-bytes", "integer", "Bytes left free on the disk of --data-dir; with less, writes are refused.",
        256 * 1024**2, "BYTES", 16 * 1024**2,
    ),
    Setting("auth-tokens", "path", "Hashes of the tokens that callers may show; needs --auth-policy.", None, "FILE"),
    Setting("auth-policy", "path", "Who may do what (TOML); then each caller has to be known.", None, "FILE"),
    Setting(
        "reflection", "boolean", "Describe the API to tools such as grpcurl; by default if nobody has to be known.",
    ),
    Setting("calls-max", "integer", "Calls with one reply at once; more are refused.", 2048, "N", 1, 1_000_000),
    Setting("lists-max", "integer", "Lists, exports and histories at once.", 64, "N", 1, 100_000),
    Setting("watches-max", "integer", "Watches at once.", 4096, "N", 1, 1_000_000),
    Setting("drain-seconds", "seconds", "How long running calls may take at the stop.", 30.0, "SECONDS", 0, 3600),
    Setting(
        "metrics-listen", "text", "Address that tells metrics to Prometheus; off = none, port 0 picks a free one.",
        "127.0.0.1:9464", "HOST:PORT",
    ),
    Setting(
        "access-log", "choice", "Calls that get a line in the log: the server's errors, and a sample of the others.",
        "sampled", choices=("off", "errors", "sampled", "all"),
    ),
    Setting("log-format", "choice", "Form of the log on standard error.", "human", choices=("human", "json")),
    Setting("log-level", "choice", "Least severity logged.", "info", choices=("debug", "info", "warning", "error")),
)  # fmt: skip
