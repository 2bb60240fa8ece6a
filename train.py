"""Train one network, or a sweep of them. What can be chosen: python train.py --help"""

from noisereg.__main__ import start

if __name__ == "__main__":
    start()
