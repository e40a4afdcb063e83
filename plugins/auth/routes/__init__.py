"""The routes below /api/v1/auth, one module for each resource."""
