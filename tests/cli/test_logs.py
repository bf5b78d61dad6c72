"""The forms of the log."""

import contextvars
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
from grpc._cython import cygrpc

from workflowstore_server.cli import logs
from workflowstore_server.model import current_call


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # set_up closes the handlers that it finds, and these are pytest's.
    root.handlers = []
    yield
    logging.captureWarnings(capture=False)
    root.handlers = handlers
    root.setLevel(level)


def _fail() -> None:
    try:
        raise ValueError("it\x1b[31m")
    except ValueError:
        logging.getLogger("a.b").exception("no %s", "good\nnews")


def test_human(capsys) -> None:
    logs.set_up("human", "info")
    logging.getLogger("a.b").info("up\x1b[2J")
    logging.getLogger("a.b").debug("not shown")
    _fail()
    first, second, third, *_ = capsys.readouterr().err.splitlines()
    assert first.endswith(r"Z INFO    up\x1b[2J")
    assert second.endswith(r"Z ERROR   no good\nnews")
    assert third == "Traceback (most recent call last):"


def test_json(capsys) -> None:
    logs.set_up("json", "debug")
    _fail()
    logging.getLogger("a").debug("deep", stack_info=True)
    text = capsys.readouterr().err
    first, second = [json.loads(line) for line in text.splitlines()]
    assert first["time"].endswith("Z")
    assert first | {"time": "", "exception": ""} == {
        "time": "",
        "level": "error",
        "logger": "a.b",
        "message": "no good\nnews",
        "exception": "",
    }
    assert "ValueError: it" in first["exception"]
    assert second["level"] == "debug"
    assert "test_logs" in second["stack"]
    assert "\x1b" not in text


def test_warnings_are_logged(capsys) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.set_up("json", "warning")
        warnings.warn("careful", stacklevel=1)
    assert "careful" in json.loads(capsys.readouterr().err)["message"]


class _Call:
    call_id = "order-42"
    tracer = None


def _log_during_a_call() -> None:
    current_call.work_for(_Call())
    logging.getLogger("a").warning("late", extra={"facts": {"duration_ms": 1.5}})


def test_a_line_that_is_about_a_call_names_it(capsys) -> None:
    logs.set_up("human", "info")
    contextvars.copy_context().run(_log_during_a_call)
    logs.set_up("json", "info")
    contextvars.copy_context().run(_log_during_a_call)
    logging.getLogger("a").warning("of no call")
    human, *lines = capsys.readouterr().err.splitlines()
    during, other = [json.loads(line) for line in lines]
    assert human.endswith("late [call order-42]")
    assert (during["call_id"], during["duration_ms"]) == ("order-42", 1.5)
    assert "call_id" not in other


def test_a_client_that_leaves_as_it_is_sent_its_reply_is_no_error(capsys) -> None:
    # As grpc.aio does, which cannot be brought to it at will.
    def unsent() -> None:
        try:
            raise cygrpc.ExecuteBatchError
        except cygrpc.ExecuteBatchError:
            of_grpc.exception("raised in core by servicer method [%s]", "/a/Save")

    of_grpc = logging.getLogger("grpc._cython.cygrpc")
    logs.set_up("human", "info")
    unsent()
    of_grpc.error("something else")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("ERROR   something else")
    logs.set_up("human", "debug")
    unsent()
    (line,) = capsys.readouterr().err.splitlines()
    assert "DEBUG" in line
    assert line.endswith("/a/Save]")
