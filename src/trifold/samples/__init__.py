"""Two small corpora written for this project: reviews in English and Chinese, and sentence pairs of an everyday world.

They show a task being learned, and are no measure of it.
"""

__all__: list[str] = []
