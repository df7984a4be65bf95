"""The wire itself: WebSockets (picows) and HTTP (aiohttp), each behind its seam."""
