"""The command line: flags, logging, signals, exit codes, and how the modules are wired together."""
