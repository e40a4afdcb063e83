"""Change of value: devices tell of points by themselves, as long as each subscription is kept up (ASHRAE 135, 13.1)."""
