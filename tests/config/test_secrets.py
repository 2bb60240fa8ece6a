import pytest
from secret_shapes import LETTERS, SHAPES

from noisereg.config.secrets import check_interpolations, check_secrets
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


@pytest.mark.parametrize("secret", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    "place", [{"logger": {"tags": ["a", "SECRET"]}}, {"note": "is SECRET, they say"}, {"SECRET": 1}]
)
def test_what_looks_as_a_well_known_secret_is_refused_wherever_it_stands(secret, place):
    def fill(node):
        if isinstance(node, dict):
            return {fill(key): fill(value) for key, value in node.items()}
        return [fill(item) for item in node] if isinstance(node, list) else str(node).replace("SECRET", secret)

    with pytest.raises(
        ConfigError, match=r"holds .*, which a run would write down; leave it out|looks like a secret"
    ) as refusal:
        check_secrets(fill(place), environment={})
    if "SECRET" not in place:
        assert LETTERS[35:45] not in str(refusal.value) and "hidden" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("author", "Jane Doe 1815"),
        ("compat", "v2-2025-11-29-release"),
        ("callbacks.stop.patience", 10),
        ("passes", 3),
        ("callbacks.train_pass._target_", "noisereg.callbacks.TrainPass"),
        ("monkey", "0123456789abcdefXYZ"),
        ("sort_key", "test/active_fraction/layer3.2.relu2"),
        ("key", "resnet20-cifar10-wide"),
        ("keys", ["a1b2c3d4"]),
        ("model.key_dim", 64),
        ("model.tokenizer", "bert-base-uncased-2018"),
        ("num_tokens", 512),
        ("model.class_token", True),
        ("model.cls_token", None),
        ("path", "/home/me/runs/2025-11-29"),
        ("logger.tags", ["risk-learn-baseline-on-mnist", "task-1234567890123456789012", "sk-learn"]),
        ("logger.tags", ["commit-6def9071234567890abcdef1234567890abcdef1"]),
        ("commit", "6def9071234567890abcdef1234567890abcdef1"),
        ("dataset.root", "/data/snapshots/6def9071234567890abcdef1234567890abcdef1/train"),
        ("address", "ssh://git@host/repository.git"),
        ("address", "https://host/a?page=2&keyword=abcdefgh12"),
        ("mail", "me@host.org"),
        ("logger.group", "sweep-of-hf_resnet-and-akia"),
        ("hydra.run.dir", "outputs/2026-11-29/06-59-06"),
    ],
)
def test_ordinary_keys_and_values_pass(key, value):
    check_secrets({key: value}, environment={})


@pytest.mark.parametrize(
    "name",
    ["GITHUB_PAT", "MY_DB_PWD", "DB_PASS", "AWS_CREDENTIALS", "BASIC_AUTH", "OpenAiKey", "SERVICE_JWT", "PGPASSWORD"],
)
def test_a_variable_is_known_for_a_secret_by_the_words_of_its_name(name):
    with pytest.raises(ConfigError, match=rf"^note holds the value of {name}, "):
        check_secrets({"note": f"a {SECRET} b"}, environment={name: SECRET})


def test_a_variable_that_is_a_place_or_a_name_is_no_secret(tmp_path):
    environment = {
        "PWD": str(tmp_path),
        "SSH_AUTH_SOCK": str(tmp_path),
        "PATH": SECRET,
        "AUTHOR": SECRET,
        "KEYBOARD": SECRET,
        "COMPAT": SECRET,
        "AUTH_METHOD": "kerberos",
    }
    check_secrets({"root": f"{tmp_path}/data", "note": SECRET, "by": "kerberos"}, environment=environment)


def test_what_wandb_login_has_written_is_a_secret(tmp_path):
    key = "f0" * 20
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {key}\n")
    with pytest.raises(ConfigError, match=r"^root holds the value of .*.netrc for api.wandb.ai"):
        check_secrets({"root": f"/data/{key}"}, environment={"HOME": str(tmp_path)})
    (tmp_path / ".netrc").write_text("no machine at all")
    check_secrets({"root": f"/data/{key}"}, environment={"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:A}",
        "a${ oc.env:A}b",
        "${oc.env:A,b}",
        "${oc.${b}:A}",
        "${oc.decode:'x'}",
        "${oc.create:{a: 1}}",
        "${a.${b}}",
    ],
)
def test_a_file_reads_neither_the_environment_nor_by_a_name_that_it_makes(text):
    with pytest.raises(ConfigError, match=r"^logger.tags\[0\]=.* stands in a file"):
        check_interpolations({"logger": {"tags": [text]}}, stated=set())
    check_interpolations({"logger": {"tags": [text]}}, stated={"logger.tags[0]"})


@pytest.mark.parametrize(
    "text", ["${noise.p}", "${.p}", "${now:%Y-%m-%d}", "${hydra:job.name}", "${oc.select:a,1}", "a: b"]
)
def test_a_file_reads_the_configuration_and_the_clock(text):
    check_interpolations({"logger": {"tags": [text]}}, stated=set())
