import re

import pytest

from noisereg.models.checks import check_append_one, check_choice, check_positive


def test_sizes_of_one_pass_and_smaller_ones_are_named():
    check_positive(hidden=1, num_outputs=1)
    with pytest.raises(ValueError, match="num_outputs must be at least 1, got 0"):
        check_positive(hidden=1, num_outputs=0)


def test_an_unknown_choice_is_refused_with_the_known_ones():
    check_choice("bias", "none", ["zero", "none"])
    with pytest.raises(ValueError, match="bias must be one of zero, none, got 'ones'"):
        check_choice("bias", "ones", ["zero", "none"])


@pytest.mark.parametrize("bias", ["zero", "same", "torch"])
def test_an_appended_one_excludes_biases(bias):
    check_append_one(False, bias)
    check_append_one(True, "none")
    with pytest.raises(ValueError, match=re.escape(f"requires bias='none', got '{bias}'")):
        check_append_one(True, bias)
