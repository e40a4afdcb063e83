"""Tokens of somebody else's sign-in: JSON Web Tokens (RFC 7519) that an OpenID Connect issuer has signed."""
