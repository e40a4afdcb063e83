"""The plugins that come with Plantroom, one folder each."""
