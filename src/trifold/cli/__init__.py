"""The command line: one module a command; none imports torch before its command runs."""

__all__: list[str] = []
