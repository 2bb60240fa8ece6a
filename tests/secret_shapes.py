"""Secrets of well-known services, by their shape."""

import string

# Made up, and put together here so that no scanner takes this file for a leak.
LETTERS = (string.ascii_letters + string.digits) * 2
SHAPES = {
    "GitHub": "ghp_" + LETTERS[20:56],
    "GitHub's fine-grained": "github_pat_" + LETTERS[:22] + "_" + LETTERS[:59],
    "GitLab's": "glpat-" + LETTERS[40:60],
    "OpenAI's": "sk-" + LETTERS[30:78],
    "OpenAI's for a project": "sk-proj-" + LETTERS[30:78],
    "Anthropic's": "sk-ant-api03-" + LETTERS[30:78],
    "Hugging Face's": "hf_" + LETTERS[:34],
    "Amazon's": "AKIA" + LETTERS[26:42].upper(),
    "Google's": "AIza" + LETTERS[:35],
    "Slack's": "xoxb-" + "123456789012-" + LETTERS[:24],
    "Stripe's": "sk_live_" + LETTERS[:24],
    "W&B's": "wandb_v1_" + LETTERS[:60],
    "W&B's older": "0123456789abcdef" * 2 + "01234567",
    "a signed token": "eyJ" + LETTERS[:20] + ".eyJ" + LETTERS[:30] + "." + LETTERS[:43],
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----\n" + LETTERS,
    "a token in an address": "https://" + LETTERS[:20] + "@host/data",
    "a password in an address": "postgresql://me:hidden@host/db",
    "a key in a query": "https://host/data?x=1&api_key=" + LETTERS[:20],
    "a key in an encoded query": "https%3A%2F%2Fhost%2Fdata%3Ftoken%3D" + LETTERS[:20],
}
