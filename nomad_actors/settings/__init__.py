"""Every setting and its allowed values."""

from .settings import OWN_REDIS, Settings, is_secret, read_with_origins
from .values import RetentionLimit

__all__ = ["OWN_REDIS", "RetentionLimit", "Settings", "is_secret", "read_with_origins"]
