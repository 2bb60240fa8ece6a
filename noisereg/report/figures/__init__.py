"""Figures as data: what a panel shows, the numbers behind it, and its drawing."""
