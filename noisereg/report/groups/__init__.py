"""Runs that belong together, and how their replicas are told apart."""
