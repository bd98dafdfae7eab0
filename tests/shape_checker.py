"""Checks every annotated call of the package while the tests run: types, tensor dtypes and named axes."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand where a float is asked for
