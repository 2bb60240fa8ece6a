"""The run-time check of annotations in tests: an int is a float, as it is for static checkers."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
