"""Takes over the devices and points that the Django application knew, from its exported lists."""

from plugins.django_import.plugin import DjangoImportPlugin

__all__ = ["DjangoImportPlugin"]
