"""Small corpora written for this project, Chinese and English: toys that show a task being learned, no measure of it."""

__all__: list[str] = []
