import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from platformdirs import user_data_path

from app.settings import Settings, read_settings
from weakpoints.errors import WeakpointsError
from weakpoints.networks import manifest


def test_pulled_weights_lie_beside_the_manifest_unless_a_folder_is_given(tmp_path: Path) -> None:
    assert Settings(manifest=tmp_path / "mine.json").downloads == tmp_path / "downloaded"
    assert Settings(manifest=tmp_path / "mine.json", downloads=tmp_path).downloads == tmp_path


def test_the_manifest_of_an_installed_package_has_its_pulled_weights_with_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(manifest, "PACKAGED", tmp_path)
    assert Settings(manifest=tmp_path / "manifest.json").downloads == user_data_path("weakpoints")


FIELDS = sorted(Settings.model_fields)
NOTHING = ("", " ", "\t", '""', "''", ' "" ')
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
LISTED = st.lists(st.sampled_from(["https://a.example", "http://b.example:8080", "*"]), max_size=3)
LIKE_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
).map(json.dumps)


def settings_of(**environment: str) -> Settings:
    """With this environment and no other, but for what the tests have for all."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("WEAKPOINTS_"):
                patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(f"WEAKPOINTS_{name.upper()}", value)
        return read_settings()


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_that_is_empty_is_as_if_it_were_not_set(name: str, nothing: str) -> None:
    assert settings_of(**{name: nothing}) == settings_of()


@settings(max_examples=50)
@given(st.sampled_from(FIELDS), TEXTS | LIKE_JSON)
def test_whatever_a_setting_is_it_is_read_or_refused_in_one_sentence(name: str, text: str) -> None:
    said = ""
    try:
        settings_of(**{name: text})
    except WeakpointsError as error:
        said = str(error)
    assert not said or said.startswith(f"{name} (WEAKPOINTS_{name.upper()}) is ")
    assert "validation error" not in said


@given(LISTED, st.sampled_from(["", '"', "'"]), st.sampled_from(["", " "]))
def test_a_list_may_be_json_or_have_commas_and_each_entry_quotes(
    listed: list[str], quote: str, space: str
) -> None:
    expected = settings_of(origins=json.dumps(listed)).origins
    assert expected == tuple(listed)
    commas = f",{space}".join(f"{quote}{entry}{quote}" for entry in listed)
    assert settings_of(origins=commas).origins == expected
    assert Settings(origins=listed).origins == expected


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_around_a_value_are_none_of_it(quote: str, tmp_path: Path) -> None:
    written = {"port": "8123", "network": "bundled", "downloads": str(tmp_path)}
    found = settings_of(**{name: f"{quote}{text}{quote}" for name, text in written.items()})
    assert (found.port, found.network, found.downloads) == (8123, "bundled", tmp_path)


@pytest.mark.parametrize("link", ["tcp://10.96.12.34:80", "TCP://[fd00::1]:80", "udp://10.0.0.1:9"])
def test_a_service_link_is_not_taken_for_the_port(link: str) -> None:
    links = {"service_host": "10.96.12.34", "service_port": "80", "port_80_tcp": link}
    assert settings_of(port=link, **links).port == 8000


def test_a_port_that_is_another_address_is_still_refused() -> None:
    with pytest.raises(WeakpointsError, match=r"WEAKPOINTS_PORT\) is 'http://x'"):
        settings_of(port="http://x")


def test_an_address_of_a_proxy_needs_no_json() -> None:
    networks = settings_of(proxies="10.0.0.0/8, ::1").proxies
    assert [str(network) for network in networks] == ["10.0.0.0/8", "::1/128"]


def test_label_studio_is_found_by_the_name_that_its_own_backends_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://ls.example:8080/")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "secret")
    settings = read_settings()
    assert settings.label_studio_url == "http://ls.example:8080"
    assert settings.label_studio_api_key.get_secret_value() == "secret"
    assert "secret" not in repr(settings)
    monkeypatch.setenv("WEAKPOINTS_LABEL_STUDIO_URL", "https://other.example")
    assert read_settings().label_studio_url == "https://other.example"
    monkeypatch.setenv("WEAKPOINTS_LABEL_STUDIO_URL", "http://me:secret@other.example")
    with pytest.raises(WeakpointsError, match="an address such as"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("root_path", "/kp/", "/kp"),
        ("root_path", "kp", "/kp"),
        ("root_path", "/a/b/", "/a/b"),
        ("root_path", "/", ""),
        ("device", "CPU", "cpu"),
        ("device", "Cuda:1", "cuda:1"),
        ("precision", "Float16", "float16"),
        ("host", "[::1]", "::1"),
    ],
)
def test_a_setting_may_be_written_as_people_write_it(name: str, written: str, meant: str) -> None:
    assert getattr(settings_of(**{name: written}), name) == meant
    assert getattr(Settings(**{name: written}), name) == meant


@pytest.mark.parametrize("name", ["manifest", "downloads", "api_keys", "landmarks"])
def test_behind_a_tilde_is_the_user_s_folder(name: str) -> None:
    assert getattr(settings_of(**{name: "~/here"}), name) == Path.home() / "here"
    with pytest.raises(WeakpointsError, match=rf"WEAKPOINTS_{name.upper()}\) is '~nobody-here/x'"):
        settings_of(**{name: "~nobody-here/x"})


NUMBERS = [name for name in FIELDS if Settings.model_fields[name].annotation in (int, float)]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_has_an_end_on_both_sides(name: str) -> None:
    for text in ("inf", "-inf", "nan", "1e300", "9" * 30, "-1", "0x10", "8,000", "5s"):
        with pytest.raises(WeakpointsError, match=rf"^{name} \(WEAKPOINTS_{name.upper()}\) is"):
            settings_of(**{name: text})
