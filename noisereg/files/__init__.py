"""Files and folders: written whole, one process at a time, room on the disk, and what is kept for the next start."""
