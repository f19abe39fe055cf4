"""A key is checked before it is sent, and never shown."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_mcp.domain.endpoints import Endpoint
from moa_mcp.domain.errors import ProviderError, Reason
from moa_mcp.providers.wire.keys import key_of, missing_variables, placeholder_in, redact_key

LAB = Endpoint("lab", "http://127.0.0.1:1/v1", api_key_env="LAB_KEY")
KEY = "sk-lab+secret/0123456789="


def test_an_endpoint_without_a_key_variable_sends_no_key() -> None:
    assert key_of(Endpoint("open"), {"OPEN_KEY": "x"}) is None


def test_a_key_is_taken_without_the_white_space_around_it() -> None:
    assert key_of(LAB, {"LAB_KEY": " sk-1\n"}) == "sk-1"


@pytest.mark.parametrize("environ", [{}, {"LAB_KEY": ""}, {"LAB_KEY": " \n"}])
def test_a_key_that_is_not_set_is_missing_and_its_variable_named(environ: dict[str, str]) -> None:
    with pytest.raises(ProviderError) as caught:
        key_of(LAB, environ)

    assert missing_variables(LAB, environ) == ("LAB_KEY",)
    assert (caught.value.reason, caught.value.detail) == (Reason.MISSING_KEY, "LAB_KEY")


@pytest.mark.parametrize(
    "value",
    [
        "${LAB_KEY}",
        "$LAB_KEY",
        "${env:LAB_KEY}",
        "$env:LAB_KEY",
        "%LAB_KEY%",
        "{{LAB_KEY}}",
        "${{ secrets.LAB_KEY }}",
        "${input:lab-key}",
        "${user_config.lab_key}",
        "<your key>",
        "your-api-key",
        "YOUR_LAB_API_KEY_HERE",
    ],
)
def test_a_placeholder_that_nobody_expanded_is_no_key(value: str) -> None:
    with pytest.raises(ProviderError) as caught:
        key_of(LAB, {"LAB_KEY": f" {value}\n"})

    assert caught.value.reason is Reason.MISSING_KEY
    assert missing_variables(LAB, {"LAB_KEY": value}) == ("LAB_KEY",)
    assert placeholder_in(value) == value


def test_a_default_that_may_be_a_key_is_not_told_with_its_placeholder() -> None:
    assert placeholder_in(f"${{LAB_KEY:-{KEY}}}") == "${LAB_KEY:-…}"


@pytest.mark.parametrize(
    "value", [KEY, "my-key", "lab-secret", "$ecret", "$2b$10$abc", "<sk-proj-1a2b3c>", "${gsk_1a2B3c}", "gsk_1a2B3c"]
)
def test_what_may_be_a_key_is_none_of_the_placeholders_that_are_told(value: str) -> None:
    assert placeholder_in(value) is None
    assert missing_variables(LAB, {"LAB_KEY": value}) == ()


@pytest.mark.parametrize("value", ["sk 1", "sk\n1", "sk-é", "sk-\x00", "“sk-1”"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_told(value: str) -> None:
    with pytest.raises(ProviderError) as caught:
        key_of(LAB, {"LAB_KEY": value})

    assert caught.value.reason is Reason.AUTH
    assert "LAB_KEY" in str(caught.value)
    assert value not in str(caught.value)


@pytest.mark.parametrize("form", [KEY, quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode(), f"Bearer {KEY}"])
def test_no_form_of_the_key_is_left_in_what_is_shown(form: str) -> None:
    shown = redact_key(f"Incorrect API key provided: {form}. See the docs.", KEY)

    assert "secret" not in shown
    assert form not in shown
    assert shown.startswith("Incorrect API key provided: ")


@pytest.mark.parametrize("message", [KEY.lower(), KEY.upper()])
def test_a_key_in_letters_of_the_wrong_case_is_taken_out_too(message: str) -> None:
    assert redact_key(f"content type text/{message}", KEY) == "content type text/[key]"


def test_a_key_that_the_provider_starred_out_is_taken_out_too() -> None:
    assert redact_key("Incorrect API key provided: sk-la****6789.", KEY) == "Incorrect API key provided: [key]"


@given(st.integers(min_value=0, max_value=260))
def test_a_key_at_the_end_of_a_long_line_is_not_cut_in_two(before: int) -> None:
    assert "sk-" not in redact_key("x" * before + KEY + "y" * 300, KEY)


def test_what_is_shown_is_one_short_line() -> None:
    shown = redact_key("a\nb\x1b[31m " + "c" * 500, None)

    assert len(shown) == 200
    assert shown.startswith("a b c")
