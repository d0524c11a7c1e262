"""Keys and proxies: what is sent, what stands in the way, and that no message shows a secret."""

import json

import pytest

from ketchup.errors import ServerError
from ketchup.remote.endpoint import Endpoint, environment_key, is_local
from tests.judge.given import invoke, words, write_inputs
from tests.judge.mock_server import MockServer, refusal

pytestmark = pytest.mark.usefixtures("short_waits")
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("around", ["sk-secret\n", "sk-secret\r\n", "\tsk-secret ", "sk-secret"])
def test_space_around_a_key_is_no_part_of_it(tmp_path, monkeypatch, around):
    monkeypatch.setenv("OPENAI_API_KEY", around)
    write_inputs(tmp_path)
    with MockServer().running() as server:
        done = invoke(*words(tmp_path, server.base_url))
    assert done.exit_code == 0, done.output
    assert server.authorisations == {"Bearer sk-secret"}


@pytest.mark.parametrize("key", ["sk-sec\nret", "sk-sec\x1bret", "sk-sécret"])
def test_a_key_that_no_request_can_carry_is_refused_unseen(tmp_path, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    write_inputs(tmp_path)
    done = invoke(*words(tmp_path, f"{NOWHERE}/v1"))
    assert done.exit_code == 1
    assert "OPENAI_API_KEY holds a character that no key has" in done.stderr
    assert "sk-s" not in done.output


@pytest.mark.parametrize(
    ("variable", "proxy"),
    [
        ("http_proxy", NOWHERE),
        ("HTTP_PROXY", NOWHERE),
        ("ALL_PROXY", "socks5://127.0.0.1:9"),
        ("all_proxy", "nonsense://127.0.0.1:9"),
    ],
)
def test_no_proxy_is_asked_for_this_machine(tmp_path, monkeypatch, variable, proxy):
    monkeypatch.setenv(variable, proxy)
    write_inputs(tmp_path, items=1)
    with MockServer().running() as server:
        done = invoke(*words(tmp_path, server.base_url))
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *[(host, True) for host in ("localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "::1", "0.0.0.0")],
        *[(host, False) for host in ("example.org", "localhost.example.org", "10.0.0.1", "fe80::1", "")],
    ],
)
def test_what_is_this_machine(host, local):
    assert is_local(host) == local


def test_addresses_in_no_proxy_need_no_socks(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org,host:8000")
    for url in ("http://example.org/v1", "https://a.example.org/v1", "http://host:8000/v1"):
        endpoint = Endpoint(url)
        assert endpoint.proxy is None
        assert endpoint.client().base_url == f"{url}/"


@pytest.mark.parametrize(
    ("proxy", "named"),
    [
        ("socks5://me:hunter22@127.0.0.1:9", "pip install socksio"),
        ("nonsense://me:hunter22@127.0.0.1:9", "Unknown scheme"),
        ("http://me:hunter22@127.0.0.1:9", "cannot be reached through the proxy http://***@127.0.0.1:9"),
    ],
)
def test_a_proxy_in_the_way_is_named(tmp_path, monkeypatch, proxy, named):
    monkeypatch.setenv("ALL_PROXY", proxy)
    write_inputs(tmp_path)
    done = invoke(*words(tmp_path, "http://example.invalid/v1", attempts=1))
    assert done.exit_code == 1
    assert named in done.stderr
    assert "hunter22" not in done.output
    assert "Unexpected" not in done.stderr


def test_an_address_with_credentials_is_shown_and_kept_without_them(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    write_inputs(tmp_path)
    wrong = refusal(401, "Incorrect API key provided: sk-secret, sent to https://me:hunter22@host")
    with MockServer(lambda *_: wrong).running() as server:
        url = server.base_url.replace("//", "//me:hunter22@")
        command = words(tmp_path, url)
        monkeypatch.setattr("sys.argv", ["ketchup", *command])
        for options in ((), ("--debug",)):
            done = invoke(*options, *command)
            assert done.exit_code == 1
            assert "refuses the key" in done.stderr
            assert "hunter22" not in done.output
            assert "sk-secret" not in done.output
        server.answer = MockServer().answer
        assert invoke(*command).exit_code == 0
    for path in (tmp_path / "runs").rglob("*"):
        assert not path.is_file() or "hunter22" not in path.read_text()
    recorded = json.loads((tmp_path / "runs/judge/judge.json").read_text())["run"]["command"]
    assert url.replace("me:hunter22", "***") in recorded


def test_of_several_variables_the_first_that_is_set_counts(monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", " ")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\n")
    assert environment_key("VLLM_API_KEY", "OPENAI_API_KEY") == "sk-secret"
    monkeypatch.setenv("VLLM_API_KEY", "other\n")
    assert environment_key("VLLM_API_KEY", "OPENAI_API_KEY") == "other"
    monkeypatch.setenv("VLLM_API_KEY", "o\nther")
    with pytest.raises(ServerError, match="VLLM_API_KEY holds a character"):
        environment_key("VLLM_API_KEY")


@pytest.mark.parametrize(
    "url",
    [
        *[
            "",
            "localhost:8000/v1",
            "http://",
            "http://:8000",
            "ftp://host/v1",
            "http://host:port/v1",
            "http://host:99999/v1",
        ],
        *[
            "http://host:0/v1",
            "http://[::1/v1",
            "http://a..b/v1",
            "http://ho st/v1",
            "http://host/v1\n",
            "http://host\x1b/v1",
        ],
        *["me:hunter22@host:80/v1", "http://me:hunt/er22@host/v1", "http://[me:hunter22@host/v1", "//me:hunter22@host"],
    ],
)
def test_an_address_that_is_none_is_refused_before_any_work(tmp_path, monkeypatch, url):
    command = ["judge", "--a", "a", "--b", "b", "--base-url", url, "--runs-dir", tmp_path / "runs"]
    monkeypatch.setattr("sys.argv", ["ketchup", *map(str, command)])
    for given in (command, ["doctor", "--judge", "--base-url", url]):
        done = invoke(*given)
        assert done.exit_code == 2, done.output
        assert "is no address of a server; give --base-url one such as http://127.0.0.1:8000/v1." in done.stderr
        for part in ("hunt", "er22", "\x1b"):
            assert part not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "https://me:p@ss@host", "http://[::1]:8000/v1", "HTTPS://Höst.example/v1?key=x"]
)
def test_all_other_addresses_are_taken(url):
    assert Endpoint(url).client(None)
