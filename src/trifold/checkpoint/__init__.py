"""Files of models: atomic folders, key tables, Hugging Face's layout."""

from trifold.checkpoint.key_map import Entry, KeyMap, numbered
from trifold.checkpoint.store import newest, publish, retain, verify

__all__ = ["Entry", "KeyMap", "newest", "numbered", "publish", "retain", "verify"]
