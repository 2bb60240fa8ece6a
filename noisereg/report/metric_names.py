"""What the names of metrics leave unsaid."""

_WHEN = {
    "best/": "at the epoch where it is lowest",
    "selected/": "where val/error is lowest",
}


def metric_in_words(metric: str) -> str:
    """Say when a number was measured, if not at the end.

    Example:
        >>> metric_in_words("selected/test/error"), metric_in_words("test/error")
        ('selected/test/error (where val/error is lowest)', 'test/error')
    """
    for stem, words in _WHEN.items():
        if metric.startswith(stem):
            return f"{metric} ({words})"
    return metric
