"""index rebuild, run as the command beside a real server."""

import json
import time


def test_an_index_is_built_anew_while_the_server_runs(serve, run, tmp_path) -> None:
    server = serve("--bucket", "one", "--bucket", "two")
    run("save", "--id", "a", "--address", server.address)
    assert json.loads(run("count", "--address", server.address).stdout)["count"] == 1

    removed = run("index", "rebuild", "--data-dir", str(tmp_path / "workflowstore-data"))

    assert (removed.returncode, removed.stderr) == (0, "")
    assert removed.stdout == "".join(
        f"the index of bucket {bucket} was removed and will be built anew\n" for bucket in ("one", "two")
    )
    deadline = time.monotonic() + 20
    while server.log.count("is built anew: its file was removed") < 2:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)
    assert json.loads(run("count", "--address", server.address).stdout)["count"] == 1
    assert server.stop() == 0


def test_an_index_is_built_anew_at_the_next_start(serve, run, tmp_path) -> None:
    server = serve()
    run("save", "--id", "a", "--address", server.address)
    run("count", "--address", server.address)
    server.stop()
    data = str(tmp_path / "workflowstore-data")

    assert run("index", "rebuild", "--data-dir", data, "--bucket", "beluga_workflows").returncode == 0
    assert run("index", "rebuild", WORKFLOWSTORE_DATA_DIR=data).returncode == 2

    server = serve()
    assert json.loads(run("count", "--address", server.address).stdout)["count"] == 1
    assert server.stop() == 0
    assert server.log.count("was built in") == 2


def test_an_index_that_is_not_there_is_told(run, tmp_path) -> None:
    missing = run("index", "rebuild", "--data-dir", str(tmp_path))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == f"workflowstore: there is no index in {tmp_path}/index; name the server's --data-dir\n"
