"""Files and folders: written whole, one process at a time, room on the disk, and what is kept for the next start.

Also what is kept on the disk as it does not fit into memory.
"""
