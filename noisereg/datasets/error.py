"""What a data set says when its files cannot be used."""


class DatasetError(ValueError):
    """A data set's files are missing, broken or not what they should be.

    The text is one line: the file or folder, what is wrong with it, and the command or key that mends it.

    Example:
        >>> raise DatasetError("data/cifar10.tgz is cut short; copy it again")
        Traceback (most recent call last):
        noisereg.datasets.error.DatasetError: data/cifar10.tgz is cut short; copy it again
    """
