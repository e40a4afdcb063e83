"""The plugin's REST routes, a module for each resource."""
