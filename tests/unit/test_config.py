"""The configuration: where values come from, what is refused and how it says so, and that etc/gorgond.conf is true."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gorgond import config
from gorgond.config import Config, load, rewritten
from gorgond.errors import ConfigError
from gorgond.providers import SOURCES
from gorgond.providers.random import RandomSettings
from gorgond.settings import DEFAULT_PROVIDER, SECTIONS, OAuth2, flag, keys, masked, variable

SHIPPED = Path(__file__).parents[2] / "etc/gorgond.conf"
NOTHING: dict[str, str] = {}


@pytest.fixture(autouse=True)
def no_file_at_the_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "DEFAULT_PATH", str(tmp_path / "etc/gorgond.conf"))


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "my.conf"


def refused(path: Path | None = None, environ: dict[str, str] = NOTHING, flags: dict[str, str] = NOTHING) -> str:
    """The message with which this configuration is refused: one line, or one for each mistake."""
    with pytest.raises(ConfigError) as caught:
        load(str(path) if path else None, environ, flags)
    message = str(caught.value)
    assert "\n" not in message or message.startswith("the configuration has ")
    return message


def test_all_mistakes_are_told_at_once(conf: Path, tmp_path: Path) -> None:
    # given a mistake of each kind, at each place
    conf.write_text(
        "alone = 1\n[instances]\nweb = many\nweb = 2\n[wbe]\nport = 3\n"
        "[store]\nurl = nosql://x\nnone = 3\njust a line\n"
        "[provider.mine]\nkind = unheard-of\nrate = much\n[log]\nlevel = loud\n[log]\n"
    )
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/broker.password").touch()
    environ = {
        "GORGOND_WEB_PORT": "many", "GORGOND_NONE": "1", "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
    }  # fmt: skip
    # when it is read
    with pytest.raises(ConfigError) as caught:
        load(str(conf), environ, {"stats.port": "none", "stats.colour": "red"})
    # then each is a line of its own, and what is well is no mistake
    first, *lines = str(caught.value).splitlines()
    assert first == "the configuration has 15 mistakes:"
    assert sorted(line.partition(": ")[0].removeprefix(f"{conf}:") for line in lines) == sorted(
        [
            *map(str, (1, 4, 5, 10, 16, 3, 8, 9, 12, 15)), str(tmp_path / "credentials/broker.password"),
            "environment", "--colour", "GORGOND_WEB_PORT", "--port",
        ]
    )  # fmt: skip


# ---- defaults and the shipped file


def test_without_any_file_the_defaults_hold() -> None:
    made = load(None, {}, {})
    assert made.broker.url == "unix:///run/gorgond/broker.sock"
    assert made.web.deadline == 10.0
    assert made.providers == {"random": RandomSettings()}


def test_the_shipped_file_sets_every_key_to_its_default() -> None:
    # given the file in etc/
    shipped = load(str(SHIPPED), {}, {})
    # then it has all sections, in the order of the declarations, and not a key is left to the default
    assert list(shipped.settings) == [*SECTIONS, DEFAULT_PROVIDER]
    assert all(setting.origin != "default" for section in shipped.settings.values() for setting in section.values())
    # and says what holds without it
    assert replace(shipped, settings={}) == replace(load(None, {}, {}), settings={})


def test_the_shipped_file_writes_defaults_as_they_are_declared() -> None:
    for name, section in load(str(SHIPPED), {}, {}).settings.items():
        declared = {
            key: each.default for key, each in keys({**SECTIONS, DEFAULT_PROVIDER: RandomSettings}[name]).items()
        }
        assert {key: setting.text for key, setting in section.items()} == declared


# ---- what wins


def test_each_place_overrides_the_ones_before(conf: Path, tmp_path: Path) -> None:
    # given the same key in more and more places
    environ: dict[str, str] = {}
    flags: dict[str, str] = {}

    def now() -> tuple[str, str]:
        made = load(str(conf), environ, flags)
        return made.store.url, made.settings["store"]["url"].origin

    conf.write_text("")
    assert now() == ("sqlite:////var/lib/gorgond/gorgond.db", "default")
    conf.write_text("[store]\nurl = sqlite:////file")
    assert now() == ("sqlite:////file", f"{conf}:2")
    credential = tmp_path / "credentials/store.url"
    credential.parent.mkdir()
    credential.write_text("sqlite:////credential\n")
    environ["CREDENTIALS_DIRECTORY"] = str(credential.parent)
    assert now() == ("sqlite:////credential", str(credential))
    environ["GORGOND_STORE_URL"] = "sqlite:////variable"
    assert now() == ("sqlite:////variable", "GORGOND_STORE_URL")
    flags["store.url"] = "sqlite:////flag"
    assert now() == ("sqlite:////flag", "--store")


def test_an_empty_credential_is_refused_with_what_to_run(tmp_path: Path) -> None:
    # given what a crash between making and writing it leaves: without it passwords would go in clear text
    (tmp_path / "auth.key").write_text("\n")
    with pytest.raises(ConfigError, match=r"auth\.key: it is empty; `gorgonctl secrets` makes"):
        load(os.devnull, {"CREDENTIALS_DIRECTORY": str(tmp_path)}, {})


def test_the_file_is_the_one_given_then_that_of_the_variable_then_the_default(conf: Path, tmp_path: Path) -> None:
    # given three files
    default, by_variable = Path(config.DEFAULT_PATH), tmp_path / "variable.conf"
    default.parent.mkdir()
    for port, file in enumerate((conf, by_variable, default), 1):
        file.write_text(f"[web]\nport = {port}")
    environ = {"GORGOND_CONFIG": str(by_variable)}
    # then
    assert load(str(conf), environ, {}).web.port == 1
    assert load(None, environ, {}).web.port == 2
    assert load(None, {}, {}).web.port == 3


def test_the_instance_is_no_setting() -> None:
    assert load(None, {"GORGOND_INSTANCE": "2", "HOME": "/root"}, {}) == load(None, {}, {})


# ---- how it is written


def test_values_are_the_rest_of_the_line_as_it_stands(conf: Path) -> None:
    # given comments on their own lines, and values with characters that other readers treat specially
    conf.write_text("; a\n# b\n\n [broker] \n  url=redis://:p%a#s;s=@h/0  \n#url = x\r\n[log]\r\nlevel = error\r\n")
    # when
    made = load(str(conf), {}, {})
    # then
    assert made.broker.url == "redis://:p%a#s;s=@h/0"
    assert made.log.level == "error"


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10.0), ("10s", 10.0), ("0.5s", 0.5), ("500ms", 0.5), ("2m", 120.0), ("3600", 3600.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert load(None, {"GORGOND_WEB_DEADLINE": text}, {}).web.deadline == seconds


@pytest.mark.parametrize(("text", "octets"), [("10MB", 10_000_000), ("500000kB", 500_000_000), ("1GB", 10**9)])
def test_sizes(text: str, octets: int) -> None:
    assert load(None, {"GORGOND_BROKER_QUEUE_BYTES": text}, {}).broker.queue_bytes == octets


@pytest.mark.parametrize("text", ["256000000", "9MB", "1001GB", "1.5GB", "-1GB", "256mb", ""])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="allowed: a size from 10MB to 1000GB, as 256MB or 1GB"):
        load(None, {"GORGOND_BROKER_QUEUE_BYTES": text}, {})


def test_providers_are_those_of_the_file(conf: Path) -> None:
    # given two providers, one of them with every default
    conf.write_text("[provider.notes]\nrate = 5\n[provider.more-notes]\n")
    # when one of them is changed from outside
    made = load(str(conf), {"GORGOND_PROVIDER_MORE_NOTES_SEED": "7"}, {"provider.notes.count": "0"})
    # then these two are all there is
    assert made.providers == {"notes": RandomSettings(rate=5, count=0), "more-notes": RandomSettings(seed=7)}


def test_names_of_flags_and_variables() -> None:
    assert [flag("web.port"), flag("store.url"), flag("broker.queue_limit")] == ["--port", "--store", "--queue-limit"]
    assert variable("provider.more-notes.rate") == "GORGOND_PROVIDER_MORE_NOTES_RATE"


def test_who_else_may_vouch_for_users_is_a_section_each(conf: Path) -> None:
    # given two of them; the provider of notes is the default one all the same
    conf.write_text("[oauth2.google]\nkind = google\nclient_id = a\n[oauth2.our-own]\nissuer = https://id.example\n")
    made = load(str(conf), {"GORGOND_OAUTH2_GOOGLE_CLIENT_SECRET": "hush"}, {})
    assert made.oauth2["google"] == OAuth2("google", client_id="a", client_secret="hush")
    assert made.oauth2["our-own"] == OAuth2(issuer="https://id.example")
    assert list(made.providers) == ["random"]
    assert "hush" not in made.show()
    assert "hush" not in repr(made)


def test_times_and_networks() -> None:
    made = load(None, {}, {"auth.idle": "12h", "web.trusted_proxies": "127.0.0.1  10.0.0.0/8 ::1"})
    assert made.auth.idle == 12 * 3600
    assert made.auth.lifetime == 90 * 86400
    assert [str(network) for network in made.web.trusted_proxies] == ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]


# ---- what is refused


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("web", "port", "65536", "a whole number from 0 to 65535"),
        ("web", "port", "-1", "a whole number from 0 to 65535"),
        ("web", "port", "1_0", "a whole number from 0 to 65535"),
        ("web", "port", "", "a whole number from 0 to 65535"),
        ("web", "address", "a b", "an IP address, a host name, or nothing"),
        ("web", "deadline", "0", "a time above 0 and up to 1h, as 10, 10s, 500ms or 2m"),
        ("web", "deadline", "2h", "a time above 0 and up to 1h, as 10, 10s, 500ms or 2m"),
        ("web", "deadline", "3601", "a time above 0 and up to 1h, as 10, 10s, 500ms or 2m"),
        (
            "web",
            "trusted_proxies",
            "10.0.0.0/8 proxy",
            "IP networks with blanks between them, as 127.0.0.1 10.0.0.0/8, or nothing",
        ),
        ("web", "url", "notes.example", "a URL that starts with https:// http://, or nothing"),
        ("auth", "idle", "3651d", "a time above 0 and up to 3650d, as 12h or 14d"),
        ("oauth2.other", "kind", "saml", "oidc google facebook github"),
        ("store", "lanes", "0", "a whole number from 1 to 32"),
        ("store", "batch", "1001", "a whole number from 1 to 1000"),
        ("log", "level", "INFO", "debug info warning error"),
        ("log", "format", "xml", "text json"),
        ("provider.notes", "kind", "imap", " ".join(SOURCES.names())),
        ("provider.notes", "count", "many", "a whole number from 0 to 1000000000000"),
    ],
)
def test_a_bad_value_names_place_key_value_and_what_is_allowed(
    conf: Path, section: str, key: str, value: str, allowed: str
) -> None:
    conf.write_text(f"# mine\n[{section}]\n{key} = {value}\n")
    assert refused(conf) == f"{conf}:3: [{section}] {key} cannot be '{value}'; allowed: {allowed}"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("broker.url", "http://:hunter2@host"),
        ("broker.url", ""),
        ("broker.url", "unix://"),
        ("broker.calls", "mongodb://hunter2"),
        ("store.url", "sqlite://hunter2"),
        ("store.url", "memory://"),
        ("store.url", "mongodb://hunter2 host"),
    ],
)
def test_a_bad_secret_is_refused_without_showing_it(place: str, value: str) -> None:
    message = refused(flags={place: value})
    assert re.search(r"cannot be this value \(not shown here\); allowed: a URL that starts with \w+://", message)
    assert "hunter2" not in message


def test_a_memory_broker_needs_no_name() -> None:
    assert load(None, {}, {"broker.url": "memory://"}).broker.url == "memory://"


def test_a_bad_value_of_a_variable() -> None:
    assert refused(environ={"GORGOND_WEB_PORT": "x\ny"}).startswith(
        r"GORGOND_WEB_PORT: [web] port cannot be 'x\ny'; allowed: a whole"
    )


def test_a_bad_value_of_a_flag() -> None:
    assert refused(flags={"web.port": "x"}).startswith("--port: [web] port cannot be 'x'; allowed: a whole")


def test_a_bad_value_of_a_credential(tmp_path: Path) -> None:
    (tmp_path / "web.port").write_text("x")
    message = refused(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert message.startswith(f"{tmp_path}/web.port: [web] port cannot be 'x'; allowed: a whole")


def test_a_bad_value_is_refused_even_where_another_overrides_it(conf: Path) -> None:
    conf.write_text("[web]\nport = x")
    assert refused(conf, {"GORGOND_WEB_PORT": "80"}).startswith(f"{conf}:2: [web] port")


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        (
            "[brokr]",
            1,
            f'there is no section "brokr"; did you mean "broker"? allowed: {" ".join(SECTIONS)} provider.NAME',
        ),
        ("[xyz]", 1, f'there is no section "xyz"; allowed: {" ".join(SECTIONS)} provider.NAME'),
        ("[provider]", 1, f'there is no section "provider"; allowed: {" ".join(SECTIONS)}'),
        ("[provider.NAME]", 1, 'there is no section "provider.NAME"; allowed'),
        ("[store]\nlanse = 3", 2, 'there is no key in [store] "lanse"; did you mean "lanes"? allowed: url lanes batch'),
        ("[store]\nx = 3", 2, 'there is no key in [store] "x"; allowed: url lanes batch'),
        ("[log]\n\n[web]\n[log]", 4, "[log] is already at {path}:1"),
        ("[web]\nport = 1\nport = 1", 3, "[web] port is already at {path}:2"),
        ("\nport = 1", 2, "port stands before the first [section]"),
        ("[web]\nport: 1", 2, "this is neither a [section] nor a key = value"),
        ("[web\nport = 1", 1, "this is neither a [section] nor a key = value"),
    ],
)
def test_a_file_that_cannot_be_understood(conf: Path, text: str, line: int, complaint: str) -> None:
    conf.write_text(text)
    assert refused(conf).startswith(f"{conf}:{line}: {complaint.format(path=conf)}")


@pytest.mark.parametrize("before", ["[store]", "[store]\nurl =", ""])
def test_a_secret_on_a_line_of_its_own_is_not_shown(conf: Path, before: str) -> None:
    conf.write_text(f"{before}\n  mongodb://u:hunter2@h/?w=1")
    assert "hunter2" not in refused(conf)


def test_an_unknown_variable() -> None:
    message = refused(environ={"GORGOND_BROKER_ULR": "x"})
    assert message.startswith(
        'environment: there is no variable "GORGOND_BROKER_ULR"; did you mean "GORGOND_BROKER_URL"'
    )
    assert " GORGOND_BROKER_URL GORGOND_BROKER_USER " in message


def test_an_unknown_credential(tmp_path: Path) -> None:
    (tmp_path / "broker.ulr").write_text("redis://:hunter2@h")
    message = refused(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert message.startswith(f'{tmp_path}/broker.ulr: there is no setting "broker.ulr"; did you mean "broker.url"?')


def test_an_unknown_flag() -> None:
    assert 'there is no setting "provider.mail.rate"; did you mean' in refused(flags={"provider.mail.rate": "1"})


def test_a_missing_file_is_refused_where_it_was_asked_for(conf: Path) -> None:
    assert refused(conf) == f"{conf}: cannot be read: No such file or directory"
    assert refused(environ={"GORGOND_CONFIG": str(conf)}) == f"{conf}: cannot be read: No such file or directory"


def test_a_file_that_is_no_text(conf: Path) -> None:
    conf.write_bytes(b"[web]\nport = \xff")
    assert refused(conf) == f"{conf}:2: not UTF-8 text"
    assert refused(conf.parent) == f"{conf.parent}: cannot be read: Is a directory"


# ---- what is shown


@pytest.fixture
def with_secrets(conf: Path) -> Config:
    conf.write_text("[broker]\nurl = redis://:hunter2@h/0\n[store]\nurl = mongodb://u:hunter2@a:1,b:2/d?w=1\n")
    return load(str(conf), {}, {"web.port": "80"})


def test_shown_is_what_is_in_force_and_where_it_comes_from(conf: Path, with_secrets: Config) -> None:
    shown = with_secrets.show()
    assert f"({conf}:2)\nurl = redis://:***@h/0\n" in shown
    assert "(--port)\nport = 80\n" in shown
    assert "(default)\ndeadline = 10s\n" in shown


def test_what_is_shown_can_be_read_again(tmp_path: Path, with_secrets: Config) -> None:
    again = tmp_path / "again.conf"
    again.write_text(with_secrets.show(mask=False))
    assert replace(load(str(again), {}, {}), settings={}) == replace(with_secrets, settings={})


def test_secrets_appear_neither_when_shown_nor_in_a_repr(with_secrets: Config) -> None:
    assert "hunter2" not in with_secrets.show() + repr(with_secrets) + repr(with_secrets.settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://u:p@h/0", "redis://u:***@h/0"),
        ("redis://:p@ss/wo:rd@h", "redis://:***@h"),
        ("unix://u:p@/run/x.sock", "unix://u:***@/run/x.sock"),
        ("unix:///run/x.sock?db=1&password=p", "unix:///run/x.sock?db=1&password=***"),
        ("mongodb://h/?tlsCertificateKeyFilePassword=p&w=1", "mongodb://h/?tlsCertificateKeyFilePassword=***&w=1"),
        ("mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:p", "mongodb://h/?authMechanismProperties=***"),
        ("memory://", "memory://"),
        ("q=redis://u:p@h/0 q=main t=unix://u:p@/x", "q=redis://u:***@h/0 q=main t=unix://u:***@/x"),
    ],
)
def test_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


# ---- what is written into it


def test_a_setting_is_rewritten_where_it_stands() -> None:
    text = "# how many\n[web]\nport = 1\n\n[instances]\n# stores\nstore = 2\nweb = 1\n"
    assert rewritten(text, "instances", "store", "4") == text.replace("store = 2", "store = 4")


def test_a_setting_that_is_not_there_is_added_to_its_section() -> None:
    assert rewritten("[instances]\nweb = 1\n\n[log]\n", "instances", "store", "4") == (
        "[instances]\nweb = 1\nstore = 4\n\n[log]\n"
    )


def test_a_section_that_is_not_there_is_added_at_the_end() -> None:
    assert rewritten("[log]\nlevel = info\n", "instances", "store", "4") == (
        "[log]\nlevel = info\n\n[instances]\nstore = 4\n"
    )
    assert rewritten("", "instances", "store", "4") == "\n[instances]\nstore = 4\n"


def test_the_shipped_file_is_rewritten_to_what_was_asked(conf: Path) -> None:
    conf.write_text(rewritten(SHIPPED.read_text(), "instances", "store", "1 per core"))
    assert load(str(conf), {}, {}).instances.store == "1 per core"
    assert len(conf.read_text().splitlines()) == len(SHIPPED.read_text().splitlines())
