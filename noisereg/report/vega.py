"""The scripts that draw figures on a page."""

from functools import cache
from importlib.metadata import version

import numpy as np
import vl_convert

from noisereg.files.cache import cached

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


@cache
def vega_script() -> str:
    """Give Vega, Vega-Lite and Vega-Embed as one script, which takes seconds to put together and is kept on disk.

    Example:
        >>> "vegaEmbed" in vega_script()
        True
    """
    made_of = (version("vl-convert-python"), _SNIPPET)
    kept = cached(
        "vega", made_of, lambda: {"utf8": np.frombuffer(vl_convert.javascript_bundle(_SNIPPET).encode(), "u1")}
    )
    return kept["utf8"].tobytes().decode()
