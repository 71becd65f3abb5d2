"""What happened: event types, the store that keeps them, verification, and read models.

This room knows neither the daemon nor the client.
"""
