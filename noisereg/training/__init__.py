"""From a checked configuration to a trained run."""
