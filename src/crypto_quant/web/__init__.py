"""The process that watches: metrics, health and the page, all from the recorders' boards and never from a recorder."""
