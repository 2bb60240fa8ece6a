import pytest

from noisereg.config.secrets import check_secrets
from noisereg.errors import ConfigError

SECRET = "4f2a-not-a-word"


@pytest.mark.parametrize("key", ["api_key", "API_KEY", "apikey", "wandb_token", "client_secret", "password", "passwd"])
def test_a_key_that_is_named_as_secrets_are_is_refused_without_its_value(key):
    with pytest.raises(ConfigError, match=rf"^model.{key} looks like a secret, .* wandb login$") as refusal:
        check_secrets({"model": {key: SECRET}}, environment={})
    assert SECRET not in str(refusal.value)


def test_a_number_of_tokens_is_no_secret_and_a_number_for_a_password_is():
    check_secrets({"model": {"num_tokens": 512, "keys": 3, "seed": 0}}, environment={})
    with pytest.raises(ConfigError, match=r"model.password looks like a secret"):
        check_secrets({"model": {"password": 1234}}, environment={})


@pytest.mark.parametrize("value", [SECRET, f"https://host/{SECRET}", [1, {"a": SECRET}]])
def test_a_secret_of_the_environment_is_found_wherever_it_stands(value):
    with pytest.raises(ConfigError, match=r"^note.* holds the value of MY_TOKEN, .*; leave it out$") as refusal:
        check_secrets({"note": value}, environment={"MY_TOKEN": SECRET})
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "environment", [{"HOME": SECRET}, {"MY_TOKEN": "4f2a"}, {"TOKEN_FILE": SECRET}, {"SECRETS_DIR": SECRET}]
)
def test_what_is_no_secret_of_the_environment_may_be_written(environment):
    check_secrets({"note": f"{SECRET} 4f2a"}, environment=environment)


@pytest.mark.parametrize("address", ["https://me:hidden@host/data", "s3://:hidden@host"])
def test_an_address_with_a_password_is_refused(address):
    with pytest.raises(ConfigError, match=r"^dataset.root holds an address with a password") as refusal:
        check_secrets({"dataset": {"root": address}}, environment={})
    assert "hidden" not in str(refusal.value)


def test_an_address_without_a_password_passes():
    check_secrets({"root": "https://host:80/a@b", "other": "file:///data"}, environment={})
