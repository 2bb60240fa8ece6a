"""From a command line to checked configurations, before torch is loaded."""
