"""From a command line to checked configurations, before torch is loaded.

In the order in which a command line goes through it:

- `sections`: everything in a nested configuration, with its key, and the classes that its sections name.
- `schema`, `check`: the values that a key may have; a fault becomes one line.
- `allowed`, `secrets`, `hydra_section`: what the configuration of a stranger may build or hold.
- `overrides`, `composing`: from the words of the command line to the configuration of each arm.
- `plan`: how its networks are trained.
- `machine`: whether devices, loggers and launchers are there.
- `same_run`, `run_folder`, `sweep_grid`, `sweep`: the folder of a run, and the jobs of a sweep with theirs.
- `command_line`: all of this, in one call.
- `commands`: the command of a run as text, and back from its record.
- `arguments`: the rest, once torch is loaded: whether the values fit the class that they are for.
"""
