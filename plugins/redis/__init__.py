"""Has several processes share one cache and one rate limiter, on a Redis server."""

from plugins.redis.plugin import RedisPlugin

__all__ = ["RedisPlugin"]
